"""Sums of several terms: associativity and commutativity.

    (x + c1) + c2          -> x + (c1 + c2)                       constants of a sum become one
    (linear(x) + r) + c    -> linear'(x) + r                      ... and the bias of a linear where that can be
    (linear + linear') + r -> linear(residual = linear'(residual = r))   every linear meets a residual

A tree of additions is taken apart into its terms and put together again, if that leaves fewer additions that no
linear layer does in its epilogue. The order of the additions changes, and with it the last bits of the result.
"""

import dataclasses
import functools

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.add import AddOp
from secateur.dialects.sparsity.ops.weight import WeightOp, weight_behind
from secateur.passes.base import PassContext, walk

from .constants import ADD, with_constant
from .readers import (
    defined_by,
    derived_weight,
    fits_f32,
    is_plain,
    known_array,
    label,
    linear_behind,
    readers,
    rebuild_linear,
)


@dataclasses.dataclass
class _Sum:
    """The terms of a tree of additions; `ops` are its additions, the root first."""

    terms: list[ir.Value]
    constants: list[np.ndarray]
    ops: list[ir.OpView]
    like: WeightOp | None = None


def _addition(value: ir.Value, context: PassContext) -> tuple[list[ir.Value], np.ndarray | None] | None:
    """The operands of the addition that makes `value`, and the constant that it adds; None where it is none."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name not in ("sparsity.add", "linalg.generic"):
        return None
    op = owner.opview
    found = with_constant(op, context)
    if found is not None:
        return ([found.x], found.constant) if found.kind == ADD else None
    if owner.name == "sparsity.add" and "layout" not in op.attributes:
        return [op.lhs, op.rhs], None
    return None


def _collect(value: ir.Value, into: _Sum, context: PassContext, root: bool = True) -> int:
    """Adds the terms of `value` to `into`; returns how many of its additions no linear would take in."""
    found = _addition(value, context) if root or len(readers(value)) == 1 else None
    if found is None:
        into.terms.append(value)
        return 0
    operands, constant = found
    op = value.owner.opview
    into.ops.append(op)
    if constant is not None:
        into.constants.append(constant)
        weights = [weight_behind(v) for v in op.operation.operands]
        into.like = into.like or next((w for w in weights if w is not None), None)
    before = len(into.terms)
    alone = sum(_collect(operand, into, context, root=False) for operand in operands)
    direct = [v for v in operands if v in into.terms[before:] and _open_linear(v) is not None]
    # One addition joins one linear, and the sum is then no linear that could take another.
    return alone + (0 if direct and op.operation.name == "sparsity.add" else 1)


def _open_linear(value: ir.Value) -> ir.OpView | None:
    """The linear behind `value` whose epilogue can still add a residual, or None."""
    activation = defined_by(value, "sparsity.activation")
    if activation is not None:
        inner = linear_behind(activation.x) if len(readers(value)) == 1 else None
        return inner if inner is not None and is_plain(inner) else None
    linear = linear_behind(value)
    return linear if linear is not None and linear.residual is None else None


def _takes_bias(value: ir.Value, context: PassContext) -> ir.OpView | None:
    linear = linear_behind(value)
    if linear is None or not is_plain(linear):
        return None
    known = linear.bias is None or known_array(linear.bias, context.weights) is not None
    return linear if known and weight_behind(linear.weight) is not None else None


def combine_sums(module: ir.Module, context: PassContext) -> int:
    """Rebuilds the sums that lose additions by it. Returns how many additions they lose."""
    count = 0
    for op in _roots(module, context):
        found = _Sum([], [], [])
        alone = _collect(op.operation.results[0], found, context)
        if len(found.ops) > 1:
            count += _rebuild(op, found, alone, context)
    return count


def _roots(module: ir.Module, context: PassContext) -> list[ir.OpView]:
    """The additions whose result is no term of another sum; their trees are disjoint."""
    roots: list[ir.OpView] = []
    inside: set[ir.Operation] = set()
    for op in reversed(walk(module, "sparsity.add", "linalg.generic")):
        if op.operation in inside or _addition(op.operation.results[0], context) is None:
            continue
        found = _Sum([], [], [])
        _collect(op.operation.results[0], found, context)
        inside.update(o.operation for o in found.ops)
        roots.append(op)
    return roots


def _rebuild(op: ir.OpView, found: _Sum, alone: int, context: PassContext) -> int:
    """Puts a sum together anew, just before its root. Returns the additions saved; 0 leaves everything as it is."""
    kind = found.terms[0].type
    if any(v.type != kind for v in found.terms) or not kind.has_static_shape:
        return 0
    linears = list(dict.fromkeys(v for v in found.terms if _open_linear(v) is not None))
    others = [v for v in found.terms if v not in linears]
    constant = functools.reduce(np.add, found.constants) if found.constants else None
    taker = None
    if constant is not None:
        shift = _per_feature(constant, kind.shape[-1])
        taker = next((v for v in linears if shift is not None and _takes_bias(v, context) is not None), None)
        if not fits_f32(constant) or (taker is None and found.like is None):
            return 0
    after = max(0, len(others) + (constant is not None and taker is None) - 1)
    if after >= alone:
        return 0
    if taker is not None:
        linears[linears.index(taker)] = _with_bias(taker, shift, op, context)
    elif constant is not None:
        others.append(derived_weight(np.broadcast_to(constant, kind.shape), "sum", found.like, op, context, None))
    # Each linear takes in the sum of all terms before it.
    with op.location, ir.InsertionPoint(op):
        total = functools.reduce(lambda before, value: AddOp.build(lhs=value, rhs=before).result, [*others, *linears])
    op.operation.results[0].replace_all_uses_with(total)
    for dead in found.ops:
        dead.operation.erase()
    return alone - after


def _per_feature(constant: np.ndarray, features: int) -> np.ndarray | None:
    wide = np.broadcast_to(constant, np.broadcast_shapes(constant.shape, (features,))).reshape(-1, features)
    return wide[0] if (wide == wide[0]).all() else None


def _with_bias(value: ir.Value, constant: np.ndarray, at: ir.OpView, context: PassContext) -> ir.Value:
    """The linear behind `value` again, with `constant` in its bias; it stands for the addition `at` too."""
    linear = value.owner.opview
    weight = weight_behind(linear.weight)
    bias = 0.0 if linear.bias is None else context.array(weight_behind(linear.bias)).astype(np.float64)
    hint = f"{label(linear)}.bias+c"
    made = derived_weight(bias + constant, hint, weight, linear, context, None)
    new = rebuild_linear(linear, linear, at, bias=made)
    linear.result.replace_all_uses_with(new.result)
    linear.operation.erase()
    return new.result
