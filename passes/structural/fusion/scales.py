"""Constants that disappear into weights: distributivity of a linear layer over scaling and shifting.

    linear(x, W, b) * c  = linear(x, c W, c b)            c one number, or one per row
    linear(x * c, W, b)  = linear(x, W c, b)              c one number, or one per column
    linear(x, W, b) + c  = linear(x, W, b + c)            c one number, or one per row
    linear(x + c, W, b)  = linear(x, W, b + W c)          c one number, or one per column
    attention(q * c, k, v) {scale} = attention(q, k, v) {scale * c}           likewise for k; c one number
    embedding(ids, T) * c = embedding(ids, c T)           c one number, or one per feature
    a * c + b * c = (a + b) * c                           any constant c

Each needs that nothing else reads what is between the two ops, that the arrays are constants, and that every folded
number keeps its digits in f32. A zero stays zero under scaling, so encodings stay true; where c has zeros, they keep
more than they must. All but a scale by a power of two change the last bits of the result.
"""

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.add import AddOp
from secateur.dialects.sparsity.ops.weight import encoding_of, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import layout_of
from secateur.passes.base import PassContext, walk

from .constants import ADD, MULTIPLY, WithConstant, with_constant
from .readers import (
    defined_by,
    derived_weight,
    fits_f32,
    is_plain,
    joined_location,
    known_array,
    linear_behind,
    readers,
    rebuild_linear,
    replace,
)

Arrays = tuple[np.ndarray, np.ndarray | None]


def _arrays(linear: ir.OpView, context: PassContext) -> Arrays | None:
    """Weight and bias in float64; None where one of them is no constant."""
    weight = known_array(linear.weight, context.weights)
    bias = None if linear.bias is None else known_array(linear.bias, context.weights)
    if weight is None or (linear.bias is not None and bias is None):
        return None
    return weight.astype(np.float64), None if bias is None else bias.astype(np.float64)


def _with_arrays(
    linear: ir.OpView,
    at: ir.OpView,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    context: PassContext,
    **changed: ir.Value,
) -> ir.OpView | None:
    """`linear` at `at` with a new weight or bias (None: the old one); None where a number overflows."""
    if not fits_f32(*(a for a in (weight, bias) if a is not None)):
        return None
    old = weight_behind(linear.weight)
    name = symbol_of(old) or "literal"
    if weight is not None:
        changed["weight"] = derived_weight(weight, f"{name}*c", old, at, context, encoding_of(old))
    if bias is not None:
        before = weight_behind(linear.bias) if linear.bias is not None else None
        hint = f"{symbol_of(before) if before is not None and symbol_of(before) else name}+c"
        changed["bias"] = derived_weight(bias, hint, before or old, at, context, None)
    return rebuild_linear(linear, at, **changed)


def _behind_linear(op: ir.OpView, found: WithConstant, context: PassContext) -> bool:
    """`linear(x) * c` and `linear(x) + c`."""
    linear, c = linear_behind(found.x), found.per_feature()
    if linear is None or c is None or not is_plain(linear):
        return False
    arrays = _arrays(linear, context)
    if arrays is None:
        return False
    weight, bias = arrays
    if found.kind == MULTIPLY:
        scaled = np.broadcast_to(c, weight.shape[:1])
        new = _with_arrays(linear, op, weight * scaled[:, None], None if bias is None else bias * scaled, context)
    else:
        shift = np.broadcast_to(c, weight.shape[:1])
        new = _with_arrays(linear, op, None, shift if bias is None else bias + shift, context)
    if new is None:
        return False
    replace(op, new.result, linear)
    return True


def _before_linear(op: ir.OpView, found: WithConstant, context: PassContext) -> bool:
    """`linear(x * c)` and `linear(x + c)`."""
    result, c = op.operation.results[0], found.per_feature()
    used = readers(result)
    if c is None or len(used) != 1 or used[0].operation.name != "sparsity.linear":
        return False
    linear = used[0].operation.opview
    arrays = _arrays(linear, context) if linear.x == result else None
    if arrays is None:
        return False
    weight, bias = arrays
    c = np.broadcast_to(c, weight.shape[1:])
    if found.kind == MULTIPLY:
        new = _with_arrays(linear, linear, weight * c, None, context, x=found.x)
    else:
        shift = weight @ c
        new = _with_arrays(linear, linear, None, shift if bias is None else bias + shift, context, x=found.x)
    if new is None:
        return False
    replace(linear, new.result, op)
    return True


def fold_constants_into_linears(module: ir.Module, context: PassContext) -> int:
    """Scales and shifts before or behind a linear -> its weight and bias. Returns how many."""
    count = 0
    for op in walk(module, "linalg.generic", "sparsity.add"):
        found = with_constant(op, context)
        if found is not None:
            count += _behind_linear(op, found, context) or _before_linear(op, found, context)
    return count


def fold_scales_into_attention(module: ir.Module, context: PassContext) -> int:
    """A number that multiplies all of query or key -> the attention's scale. Returns how many."""
    count = 0
    for attention in walk(module, "sparsity.attention"):
        if layout_of(attention) or len({attention.query, attention.key, attention.value}) < 3:
            continue
        for place, value in ((0, attention.query), (1, attention.key)):
            owner = value.owner
            if isinstance(owner, ir.Block) or len(readers(value)) != 1:
                continue
            found = with_constant(owner.opview, context)
            scale = found.scalar() if found is not None and found.kind == MULTIPLY else None
            # A negative or zero scale is as good, but an infinite one would turn a product of zero into NaN.
            if found is None or scale is None or not fits_f32(np.asarray(scale * attention.scale.value)):
                continue
            attention.operation.operands[place] = found.x
            kind = attention.scale.type
            attention.operation.attributes["scale"] = ir.FloatAttr.get(kind, attention.scale.value * scale)
            owner.erase()
            count += 1
    return count


def fold_scales_into_tables(module: ir.Module, context: PassContext) -> int:
    """A scale behind an embedding -> its table, where nothing else reads the table. Returns how many."""
    count = 0
    for op in walk(module, "linalg.generic"):
        found = with_constant(op, context)
        if found is None or found.kind != MULTIPLY:
            continue
        embedding, c = defined_by(found.x, "sparsity.embedding"), found.per_feature()
        if embedding is None or c is None or len(readers(found.x)) != 1 or len(readers(embedding.table)) != 1:
            continue
        table = known_array(embedding.table, context.weights)
        if table is None or not fits_f32(table * c):
            continue
        old = weight_behind(embedding.table)
        hint = f"{symbol_of(old) or 'literal'}*c"
        new = derived_weight(table * c, hint, old, embedding, context, None)
        with embedding.location, ir.InsertionPoint(op):
            made = embedding.rebuild(table=new).result
        replace(op, made, embedding)
        count += 1
    return count


def factor_scales(module: ir.Module, context: PassContext) -> int:
    """Two terms of a sum with one constant factor -> one product. Returns how many."""
    count = 0
    for op in walk(module, "sparsity.add"):
        if layout_of(op) or op.lhs == op.rhs or any(len(readers(v)) != 1 for v in (op.lhs, op.rhs)):
            continue
        owners = [defined_by(v, "linalg.generic") for v in (op.lhs, op.rhs)]
        found = [with_constant(owner, context) for owner in owners if owner is not None]
        if len(found) < 2 or any(f is None or f.kind != MULTIPLY for f in found):
            continue
        first, second = found
        if first.constant.shape != second.constant.shape or not (first.constant == second.constant).all():  # type: ignore[union-attr]
            continue
        with joined_location(op, *owners), ir.InsertionPoint(op):
            total = AddOp.build(lhs=first.x, rhs=second.x).result  # type: ignore[union-attr]
            product = owners[0].operation.clone()  # type: ignore[union-attr]
        for place, value in enumerate(product.operands):
            if value == first.x:  # type: ignore[union-attr]
                product.operands[place] = total
        replace(op, product.results[0], *owners)  # type: ignore[arg-type]
        count += 1
    return count


def drop_identities(module: ir.Module, context: PassContext) -> int:
    """`x * 1` and `x + 0` -> `x`. Exact but for `-0.0 + 0.0`. Returns how many."""
    count = 0
    for op in walk(module, "linalg.generic", "sparsity.add"):
        found = with_constant(op, context)
        if found is not None and found.scalar() == {ADD: 0.0, MULTIPLY: 1.0}[found.kind]:
            replace(op, found.x)
            count += 1
    return count
