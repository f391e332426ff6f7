"""The meaning of the ops of levels 2 and 3, in NumPy: what passes and kernels are checked against."""

import inspect
from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from ..number_formats.f16 import LARGEST
from ..weight_store import WeightStore
from .operation import SparsityOp
from .ops import WeightOp
from .ops.weight import WeightError, array_of
from .reference_parts import Array, EvaluationError, dtype_of


def evaluate(op: ir.OpView, operands: Sequence[Array], weights: WeightStore) -> list[Array]:
    """The results of a `sparsity` op. `operands` are the arrays of `op.operands`, those that are present.

    Floats are computed in float64 and rounded once, to the element type of the result; what f16 cannot hold is no
    number then.
    Raises `EvaluationError` where the op has no reference, an operand does not fit its type, or its
    contents break a rule that no verifier sees (an index outside a table, a row that no tile computes).
    """
    if isinstance(op, WeightOp):
        try:
            return [array_of(op, weights)]
        except WeightError as error:
            raise EvaluationError(str(error)) from None
    if not isinstance(op, SparsityOp):
        raise EvaluationError("has no reference")
    for number, (value, array) in enumerate(zip(op.operation.operands, operands, strict=True)):
        expected = (list(value.type.shape), dtype_of(value.type.element_type))
        fits = all(e < 0 or e == f for e, f in zip(expected[0], array.shape, strict=False))
        if len(expected[0]) != array.ndim or not fits or array.dtype != expected[1]:
            found = f"{array.dtype}{list(array.shape)}"
            raise EvaluationError(f"expected operand {number} to be {expected[1]}{expected[0]}, found {found}")
    arrays = iter(operands)
    named = {
        parameter: None if getattr(op, parameter) is None else next(arrays)
        for parameter in inspect.signature(op.reference).parameters
    }
    found, dtype = op.reference(**named), dtype_of(op.result.type.element_type)
    if dtype == np.float16:
        found = np.where(np.abs(found) <= LARGEST, found, np.nan)
    return [found.astype(dtype)]
