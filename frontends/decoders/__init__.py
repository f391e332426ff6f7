"""Causal language models as functions that share a key-value cache: `prefill_N`, `decode` and `reset`."""
