"""The `sparsity` dialect: transformers whose weights were pruned, from structure to kernels.

Level 2 (`structural_ops`) says what a model computes; where a weight is zero is an encoding on the
weight, never in a tensor type. Level 3 (`packed_ops`) holds packed weights and feature-major panels.
Level 4 (`kernel_ops`) calls kernels written in upstream dialects. `reference` computes every op with NumPy.
"""

from .dialect import Sparsity, VerifyError, load

__all__ = ["Sparsity", "VerifyError", "load"]
