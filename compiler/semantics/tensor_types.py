"""The arrays that MLIR types stand for: builtin tensors, torch's value tensors, and scalars."""

import dataclasses
import re

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.reference_parts import dtype_of

_TORCH_TENSOR = re.compile(r"!torch\.vtensor<\[([\d,?]*)\],\s*(\w+)>")


@dataclasses.dataclass(frozen=True)
class ArrayType:
    """Shape (None where a size is dynamic) and element type of an array."""

    shape: tuple[int | None, ...]
    dtype: np.dtype

    def fits(self, array: np.ndarray) -> bool:
        """Whether `array` is of this type."""
        sizes = len(array.shape) == len(self.shape) and zip(self.shape, array.shape, strict=True)
        return array.dtype == self.dtype and sizes is not False and all(e in (None, f) for e, f in sizes)


def is_torch_tensor(kind: ir.Type) -> bool:
    """Whether a type is a `!torch.vtensor` of known rank and element type."""
    return _TORCH_TENSOR.fullmatch(str(kind)) is not None


def array_type(kind: ir.Type) -> ArrayType | None:
    """The array that a value of type `kind` is, or None where it is none (torch's numbers and lists, memrefs).

    Raises `EvaluationError` for a tensor of elements that NumPy has no type for.
    """
    if isinstance(kind, ir.RankedTensorType):
        sizes = tuple(None if kind.is_dynamic_dim(i) else kind.shape[i] for i in range(kind.rank))
        return ArrayType(sizes, dtype_of(kind.element_type))
    if isinstance(kind, (ir.IntegerType, ir.FloatType, ir.IndexType)):
        return ArrayType((), dtype_of(kind))
    match = _TORCH_TENSOR.fullmatch(str(kind))
    if match is None:
        return None
    sizes = tuple(None if s == "?" else int(s) for s in match[1].split(",") if s)
    return ArrayType(sizes, dtype_of(match[2]))
