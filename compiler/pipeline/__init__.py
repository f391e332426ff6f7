"""Contexts, pipelines by name and by text, the pass manager, and a module's way through the levels of IR."""
