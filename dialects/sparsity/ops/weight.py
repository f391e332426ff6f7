"""The arrays that a model holds: the op, reading its array, and making an op for a derived array."""

from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import ENCODING
from ..dialect import TensorResult, expect, verifier
from ..operation import SparsityOp


class WeightOp(SparsityOp, name="weight", traits=[ext.Pure]):
    """An array of the weight store, named by symbol, or a small literal.

    ```mlir
    %w = "sparsity.weight"() {source = "encoder.0.query.weight", sparsity.encoding = #sparsity.dense<{}>}
         : () -> tensor<768x768xf32>
    ```
    Attributes: `source`, a string (symbol in the weight store) or a dense literal of the result's type;
    `sparsity.encoding`, optional, how the zeros lie. Rejected: another kind of source, a literal of
    another type, an encoding with wrong fields, an encoding on an array of fewer than two dimensions.
    """

    result: TensorResult
    source: Any

    @verifier
    def verify_invariants(op):
        source = op.source
        literal = isinstance(source, (ir.DenseElementsAttr, ir.DenseResourceElementsAttr))
        expect(
            literal or isinstance(source, ir.StringAttr),
            f"expected 'source' to be a symbol (string) or a dense literal, found {source}",
        )
        if literal:
            expect(source.type == op.result.type, f"expected a literal of {op.result.type}, found {source.type}")
        else:
            expect(source.value != "", "expected 'source' to name an array, found an empty string")
        if "sparsity.encoding" in op.attributes:
            rank = op.result.type.rank
            expect(rank >= 2, f"expected an encoded weight to have two or more dimensions, found {rank}")


class WeightError(Exception):
    """A weight op has no array, or one that does not fit. The text continues `'sparsity.weight' op`."""


def _element_type(dtype: np.dtype) -> ir.Type:
    """The MLIR type of an array's elements, in the current context."""
    if dtype == np.bool_:
        return ir.IntegerType.get_signless(1)
    if dtype.kind == "i":
        return ir.IntegerType.get_signless(8 * dtype.itemsize)
    floats = {2: ir.F16Type, 4: ir.F32Type, 8: ir.F64Type}
    if dtype.kind == "f" and dtype.itemsize in floats:
        return floats[dtype.itemsize].get()
    raise WeightError(f"expected an array of i1, i8 .. i64, f16, f32 or f64, found {dtype}")


def symbol_of(weight_op: WeightOp) -> str | None:
    """The weight's symbol in the store, or None where it is a literal."""
    source = weight_op.source
    return source.value if isinstance(source, ir.StringAttr) else None


def array_of(weight_op: WeightOp, store: WeightStore) -> np.ndarray:
    """The array of a weight op, with the shape and element type of its result; never write to it.

    A symbol is looked up in `store` (no copy), a dense literal (splats too) is read from the op.
    Raises `WeightError` where the symbol is missing, the array does not fit the op's type, or NumPy cannot
    hold the literal.
    """
    symbol, expected = symbol_of(weight_op), weight_op.result.type
    if symbol is None:
        literal = weight_op.source
        try:
            return np.array(literal)
        except (TypeError, ValueError, NotImplementedError):
            raise WeightError(f"has a literal of {literal.type} that cannot be read") from None
    if symbol not in store:
        raise WeightError(f"names '{symbol}', which the weight store does not hold")
    array = store[symbol]
    with weight_op.context:
        found = ir.RankedTensorType.get(array.shape, _element_type(array.dtype), loc=weight_op.location)
    if found != expected:
        raise WeightError(f"expected '{symbol}' in the weight store to be {expected}, found {found}")
    return array


def make_weight(array: np.ndarray, hint: str, store: WeightStore, like_op: WeightOp) -> WeightOp:
    """A new weight op for `array` at the current insertion point, located where `like_op` is.

    Symbolic where `like_op` is (`array` is added to `store` under `hint`, or `hint.1`, ... where that is
    taken; the store keeps the array itself, so do not change it afterwards), an inline literal otherwise.
    No attribute of `like_op` is copied: an encoding says where zeros lie, and those of the array are its own.
    """
    array = np.asarray(array, order="C")
    with like_op.context, like_op.location:
        result = ir.RankedTensorType.get(array.shape, _element_type(array.dtype))
        if symbol_of(like_op) is not None:
            source = ir.StringAttr.get(store.add(hint, array))
        else:
            source = ir.DenseElementsAttr.get(array)
        return WeightOp(result, source)


def encoding_of(weight_op: WeightOp) -> ir.Attribute | None:
    """The `sparsity.encoding` of a weight op, or None."""
    return weight_op.attributes.get(ENCODING, None)


def weight_behind(value: ir.Value) -> WeightOp | None:
    """The weight op whose result `value` is, or None."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "sparsity.weight":
        return None
    return owner.opview
