"""Passes over the `sparsity` dialect: one file a pass, one folder a phase. Imports `secateur.dialects` only."""
