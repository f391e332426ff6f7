"""The `sparsity` dialect: transformers whose weights were pruned, from structure to kernels.

Level 2 says what a model computes; where a weight is zero is an encoding on the weight, never in a tensor type.
Level 3 holds packed weights and feature-major panels. Level 4 (`kernel_ops`) calls kernels written in upstream
dialects. `ops` has a file for each op of levels 2 and 3, with its NumPy reference.
"""

from torch_mlir import ir

from . import kernel_ops, ops  # noqa: F401  (a class registers itself)
from .dialect import Sparsity, VerifyError

__all__ = ["Sparsity", "VerifyError", "load"]


def load(context: ir.Context | None = None) -> None:
    """Loads the dialect into `context` (default: the current one). Calling it twice is fine."""
    context = context or ir.Context.current
    if not context.is_dialect_loaded(Sparsity.DIALECT_NAMESPACE):
        with context, ir.Location.unknown(context):
            Sparsity.load()
