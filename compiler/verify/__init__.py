"""Compiled models beside PyTorch: inputs, reference outputs, tolerances, and the first layer that differs."""
