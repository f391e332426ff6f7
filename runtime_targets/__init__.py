"""Targets, compilation by IREE, bundles and the run-time API. Never imports torch."""
