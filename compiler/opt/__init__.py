"""`sparsity-opt`: passes on MLIR text."""

from .command import main

__all__ = ["main"]
