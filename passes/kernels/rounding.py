"""Rounding of f32 to bytes with a scale for each lane, and the vectors that it is made of."""

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, math, vector

from secateur.dialects.sparsity.ops.token_scales import LARGEST

from .build import Lanes, Value, loop
from .byte_products import integers

# The smallest normal number of f32: below it, the inverse of a scale may be infinite.
_SMALLEST = 2.0**-126
ROUND = 1.5 * 2**23
"""Adding it rounds to an integer, to even, and leaves that in the low bits."""


def splat(kind: ir.VectorType, value: int) -> Value:
    """A vector of one integer."""
    return arith.constant(kind, ir.DenseElementsAttr.get_splat(kind, ir.IntegerAttr.get(kind.element_type, value)))


def bytes_of(lanes: Lanes, count: int = 4) -> ir.VectorType:
    """The type of vectors of `count` bytes for each of `lanes`."""
    return integers(8, count * lanes.width)


def whole(lanes: Lanes, value: int) -> Value:
    """A vector of one 32-bit integer."""
    return splat(integers(32, lanes.width), value)


def largest_bits(largest: Value, x: Value) -> Value:
    """The larger of `largest` and |x| as bits: floats without a sign are ordered as integers, NaN above infinity."""
    return arith.maxsi(largest, vector.bitcast(largest.type, math.absf(x)))


def scale_of(lanes: Lanes, source: Value, outer: Sequence[Value], first: Value, features: int, last: Value) -> Value:
    """The largest |x| over 127 of `features` rows of `source` from `first` on; NaN where one is a NaN or infinite.

    A row is `source[outer, row, last ..]`, a lane an element of it.
    """

    def sweep(feature: Value, largest: list[Value]) -> list[Value]:
        return [largest_bits(largest[0], lanes.load(source, [*outer, arith.addi(first, feature), last]))]

    (largest,) = loop(0, features, 1, [whole(lanes, 0)], sweep)
    scale = arith.divf(vector.bitcast(lanes.type, largest), lanes.constant(LARGEST))
    return arith.addf(scale, arith.subf(scale, scale))


def inverse_of(lanes: Lanes, scale: Value) -> Value:
    """One over `scale`; zero below the smallest normal number, and for a NaN."""
    normal = arith.cmpf(arith.CmpFPredicate.OGE, scale, lanes.constant(_SMALLEST))
    return arith.select(normal, arith.divf(lanes.constant(1.0), scale), lanes.constant(0.0))


def rounded(lanes: Lanes, x: Value, inverse: Value) -> Value:
    """The bits of `x * inverse`, rounded once: the low ones are those of the integer."""
    return vector.bitcast(integers(32, lanes.width), vector.fma(x, inverse, lanes.constant(ROUND)))


def side_by_side(lanes: Lanes, parts: Sequence[Value], clean: bool = False) -> Value:
    """The low bytes of four vectors as the bytes of one. `clean`: the parts have no other bits."""
    word = None
    for place, part in enumerate(parts):
        if not clean and place < 3:
            part = arith.andi(part, whole(lanes, 255))
        if place:
            part = arith.shli(part, whole(lanes, 8 * place))
        word = part if word is None else arith.ori(word, part)
    assert word is not None
    return word
