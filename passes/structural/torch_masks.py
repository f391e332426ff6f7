"""What is added to attention scores, sorted into a bias per key and a bias per query and key.

A padding mask reaches attention as [batch, 1, tokens, keys], broadcast long before and often computed at that size.
It depends on the key alone: the ops in between are repeated at the size [batch, 1, 1, keys].
"""

import dataclasses
import math

from torch_mlir import ir

from .torch_values import (
    TorchTensor,
    defined_by,
    is_f32,
    make,
    make_float,
    make_int,
    make_view,
    number,
    shape_of,
    tensor_of,
)
from .torch_views import reshape_source

# Ops whose result at an index depends on their operands at that index alone.
_ELEMENTWISE = (
    *("to.dtype", "mul.Scalar", "add.Scalar", "sub.Scalar", "rsub.Scalar", "div.Scalar", "neg", "logical_not"),
    *("bitwise_not", "where.Scalar", "where.ScalarSelf", "where.ScalarOther", "where.self", "masked_fill.Scalar"),
    *("mul.Tensor", "add.Tensor", "sub.Tensor", "logical_and", "logical_or", "bitwise_and.Tensor", "eq.Scalar"),
    *("ne.Scalar", "gt.Scalar", "lt.Scalar", "ge.Scalar", "le.Scalar", "bitwise_or.Tensor"),
)


@dataclasses.dataclass(frozen=True)
class ScoreShape:
    """The shape of the scores: batch, heads, tokens (queries), keys."""

    batch: int
    heads: int
    tokens: int
    keys: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.batch, self.heads, self.tokens, self.keys


class MaskReader:
    """Turns addends into biases, each once however many layers use it.

    Ops are made at the insertion point: addends are read in program order, so what the first layer made
    dominates the later ones.
    """

    def __init__(self) -> None:
        self._narrowed: dict[ir.Value, ir.Value] = {}
        self._made: dict[tuple, ir.Value] = {}

    def biases(self, addends: list[ir.Value], shape: ScoreShape) -> tuple[ir.Value | None, ir.Value | None] | None:
        """`key_bias` [batch, keys] and `bias` [batch or 1, heads or 1, tokens, keys], both torch f32 tensors.

        None where an addend is of a kind that attention has no operand for.
        """
        key_bias: ir.Value | None = None
        bias: ir.Value | None = None
        terms = [self._narrow(term) for addend in addends for term in self._terms(addend)]
        for term in terms:
            tensor = tensor_of(term)
            if tensor is None or tensor.element not in ("f32", "i1") or len(tensor.shape) > 4:
                return None
            if not _broadcasts(tensor.shape, shape.sizes):
                return None
        for term in terms:
            sizes = (1,) * (4 - len(shape_of(term))) + shape_of(term)
            if sizes[1] == sizes[2] == 1:
                key_bias = self._sum(key_bias, self._key_bias(term, sizes, shape))
            else:
                bias = self._sum(bias, self._bias(term, sizes, shape))
        return key_bias, bias

    def _terms(self, value: ir.Value) -> list[ir.Value]:
        """The addends of a sum, seen through broadcasts."""
        inner = value
        while (op := defined_by(inner, "broadcast_to", "expand")) is not None:
            inner = op.operands[0]
        op = defined_by(inner, "add.Tensor")
        # A boolean addend counts as 0 or 1, while a boolean mask by itself hides keys.
        if op is None or not (is_f32(op.operands[0]) and is_f32(op.operands[1])) or number(op.operands[2]) != 1.0:
            return [value]
        return [term for operand in (op.operands[0], op.operands[1]) for term in self._terms(operand)]

    def _narrow(self, value: ir.Value) -> ir.Value:
        """`value` before it was broadcast; element-wise ops after the broadcast are repeated at the small size."""
        if value not in self._narrowed:
            self._narrowed[value] = self._narrow_new(value)
        return self._narrowed[value]

    def _narrow_new(self, value: ir.Value) -> ir.Value:
        tensor = tensor_of(value)
        op = defined_by(value, "broadcast_to", "expand")
        if op is not None and tensor_of(op.operands[0]) is not None:
            return self._narrow(op.operands[0])
        op = defined_by(value, *_ELEMENTWISE)
        if op is None or tensor is None:
            return value
        operands = [self._narrow(o) if tensor_of(o) is not None else o for o in op.operands]
        shapes = [shape_of(o) for o in operands if tensor_of(o) is not None]
        result = _common_shape(shapes)
        if result is None or math.prod(result) >= math.prod(tensor.shape):
            return value
        attributes = {key: op.attributes[key] for key in op.attributes}
        return make(op.name, TorchTensor(result, tensor.element).type, *operands, **attributes)

    def _key_bias(self, term: ir.Value, sizes: tuple[int, ...], shape: ScoreShape) -> ir.Value:
        key = ("key", term, shape.batch, shape.keys)
        if key not in self._made:
            flat = (sizes[0], sizes[3])
            value = reshape_source(term, flat) or make_view(term, flat)
            value = make_view(_additive(value), (shape.batch, shape.keys), "broadcast_to")
            self._made[key] = value
        return self._made[key]

    def _bias(self, term: ir.Value, sizes: tuple[int, ...], shape: ScoreShape) -> ir.Value:
        key = ("bias", term, shape.tokens, shape.keys)
        if key not in self._made:
            value = _additive(make_view(term, sizes))
            self._made[key] = make_view(value, (*sizes[:2], shape.tokens, shape.keys), "broadcast_to")
        return self._made[key]

    def _sum(self, left: ir.Value | None, right: ir.Value) -> ir.Value:
        if left is None:
            return right
        key = ("sum", left, right)
        if key not in self._made:
            common = _common_shape([shape_of(left), shape_of(right)])
            assert common is not None
            self._made[key] = make("torch.aten.add.Tensor", TorchTensor(common, "f32").type, left, right, make_int(1))
        return self._made[key]


def _additive(value: ir.Value) -> ir.Value:
    """A boolean mask (true: take part) as what is added to scores: 0 or minus infinity."""
    tensor = tensor_of(value)
    assert tensor is not None
    if tensor.element == "f32":
        return value
    result = TorchTensor(tensor.shape, "f32").type
    return make("torch.aten.where.Scalar", result, value, make_float(0.0), make_float(-math.inf))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    aligned = (1,) * (len(to) - len(shape)) + shape
    return all(size in (1, target) for size, target in zip(aligned, to, strict=True))


def _common_shape(shapes: list[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape that all broadcast to, or None."""
    rank = max((len(shape) for shape in shapes), default=0)
    common = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and common[axis] not in (1, size):
                return None
            common[axis] = max(common[axis], size)
    return tuple(common) if shapes else None
