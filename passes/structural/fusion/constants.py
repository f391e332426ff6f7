"""Reading `x + constant` and `x * constant`, however they are spelled at the structural level."""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.passes.base import PassContext

from .readers import known_array

ADD, MULTIPLY = "add", "multiply"


@dataclasses.dataclass(frozen=True)
class WithConstant:
    """`x + constant` or `x * constant`, of the type of `x`; `constant` is float64 and broadcasts to its shape."""

    kind: str
    x: ir.Value
    constant: np.ndarray

    def per_feature(self) -> np.ndarray | None:
        """The constant as [features], where it is the same for all tokens; else None."""
        wide = np.broadcast_to(self.constant, np.broadcast_shapes(self.constant.shape, (self.x.type.shape[-1],)))
        flat = wide.reshape(-1, wide.shape[-1])
        return flat[0] if len(flat) and (flat == flat[0]).all() else None

    def scalar(self) -> float | None:
        """The constant as one number, where all its elements are equal; else None."""
        flat = self.constant.reshape(-1)
        return float(flat[0]) if flat.size and (flat == flat[0]).all() else None


def constant_array(value: ir.Value, context: PassContext) -> np.ndarray | None:
    """The float constant behind `value` (a weight, or an `arith.constant`), in float64; None where it is none."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return None
    if owner.name == "sparsity.weight":
        array = known_array(value, context.weights)
        return array.astype(np.float64) if array is not None and array.dtype.kind == "f" else None
    if owner.name != "arith.constant":
        return None
    attribute = owner.attributes["value"].maybe_downcast()
    if isinstance(attribute, ir.FloatAttr):
        return np.asarray(attribute.value, np.float64)
    if isinstance(attribute, ir.DenseFPElementsAttr):
        if attribute.is_splat:
            splat = attribute.get_splat_value().maybe_downcast().value
            return np.full(attribute.type.shape, splat, np.float64)
        return np.array(attribute).astype(np.float64)
    return None


def with_constant(op: ir.OpView, context: PassContext) -> WithConstant | None:
    """`op` as `x + constant` or `x * constant` of f32 tensors of static shape; None where it is neither."""
    name = op.operation.name
    if name == "sparsity.add" and "layout" not in op.attributes:
        for x, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
            constant = constant_array(other, context)
            if constant is not None:
                return WithConstant(ADD, x, constant)
        return None
    return _generic(op.operation, context) if name == "linalg.generic" else None


def _generic(op: ir.Operation, context: PassContext) -> WithConstant | None:
    """A `linalg.generic` whose body is one operation of an element and a constant."""
    sizes = list(op.attributes["operandSegmentSizes"])
    result = op.results[0].type if len(op.results) == 1 else None
    static = isinstance(result, ir.RankedTensorType) and result.has_static_shape
    if sizes not in ([1, 1], [2, 1]) or not static or str(result.element_type) != "f32" or result.rank == 0:
        return None
    if any("parallel" not in str(kind) for kind in op.attributes["iterator_types"]):
        return None
    block = op.regions[0].blocks[0]
    body = list(block.operations)
    if len(body) != 2 or body[1].operation.operands[0] != body[0].operation.results[0]:
        return None
    inner = body[0].operation
    maps = [ir.AffineMapAttr(a).value for a in op.attributes["indexing_maps"]]
    identity = ir.AffineMap.get_identity(result.rank, context=op.context)
    if maps[-1] != identity or len(inner.operands) != 2:
        return None
    inputs = dict(zip(block.arguments, zip(op.operands, maps, strict=True), strict=False))
    for swap in (False, True):
        first, second = reversed(inner.operands) if swap else inner.operands
        if first not in inputs or first == block.arguments[len(block.arguments) - 1]:
            continue
        x, access = inputs[first]
        if access != identity or x.type != result or second == first:
            continue
        constant = _constant_operand(second, inputs, block, context)
        made = None if constant is None else _as_kind(inner.name, x, constant, swap)
        if made is not None:
            return made
    return None


def _constant_operand(
    value: ir.Value, inputs: dict[ir.Value, tuple[ir.Value, ir.AffineMap]], block: ir.Block, context: PassContext
) -> np.ndarray | None:
    if value not in inputs:
        return constant_array(value, context) if not isinstance(value.owner, ir.Block) else None
    if value == block.arguments[len(block.arguments) - 1]:
        return None
    source, access = inputs[value]
    constant = constant_array(source, context)
    return None if constant is None else _broadcast(constant, access)


def _broadcast(constant: np.ndarray, access: ir.AffineMap) -> np.ndarray | None:
    """The constant with as many dimensions as there are loops, of size one where the map does not read the loop."""
    sizes = [1] * access.n_dims
    last = -1
    kept = []
    for axis, expression in enumerate(access.results):
        if isinstance(expression, ir.AffineDimExpr):
            loop = expression.position
            if loop <= last:
                return None
            last, sizes[loop] = loop, constant.shape[axis]
            kept.append(axis)
        elif constant.shape[axis] != 1:
            return None
    return constant.reshape(sizes)


def _as_kind(name: str, x: ir.Value, constant: np.ndarray, swapped: bool) -> WithConstant | None:
    if name == "arith.addf":
        return WithConstant(ADD, x, constant)
    if name == "arith.mulf":
        return WithConstant(MULTIPLY, x, constant)
    if name == "arith.subf" and not swapped:
        return WithConstant(ADD, x, -constant)
    if name == "arith.divf" and not swapped and (constant != 0).all():
        return WithConstant(MULTIPLY, x, 1.0 / constant)
    return None
