"""The `sparsity` dialect and the weight store. Imports nothing of the rest of Secateur and never torch."""
