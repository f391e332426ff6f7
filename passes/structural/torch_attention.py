"""Attention in level 1, as one op or spelled out, as `sparsity.attention` on token-major tensors.

softmax(matmul(q, transpose(k)) * scale + mask) @ v    or    scaled_dot_product_attention(q, k, v, mask)
with q, k, v = transpose(view(x, [batch, tokens, heads, depth]), 1, 2)
"""

import dataclasses
import math

from torch_mlir import ir

from secateur.dialects.sparsity.ops.attention import AttentionOp

from .torch_masks import MaskReader, ScoreShape
from .torch_values import (
    constant,
    defined_by,
    from_builtin,
    is_f32,
    is_none,
    make_transpose,
    make_view,
    number,
    permutation,
    shape_of,
    tensor_of,
    to_builtin,
)
from .torch_views import token_major


@dataclasses.dataclass(frozen=True)
class Attention:
    """Attention as found: `query` [batch, heads, tokens, depth], `key` and `value` [batch, kv_heads, keys, depth],
    or without the heads' axis; `addends` are added to the scaled scores."""

    query: ir.Value
    key: ir.Value
    value: ir.Value
    addends: list[ir.Value]
    scale: float
    causal: bool


def match_fused(op: ir.Operation) -> Attention | None:
    """`aten.scaled_dot_product_attention` without dropout, on f32 tensors of static shape."""
    query, key, value, mask, dropout, causal, scale, grouped = op.operands
    if not all(is_f32(v) for v in (query, key, value)) or number(dropout) != 0.0:
        return None
    if not isinstance(constant(causal), bool) or not isinstance(constant(grouped), bool):
        return None
    shapes = [shape_of(v) for v in (query, key, value)]
    if len({len(shape) for shape in shapes}) != 1 or len(shapes[0]) not in (3, 4):
        return None
    if len(shapes[0]) == 4 and not constant(grouped) and shapes[0][1] != shapes[1][1]:
        return None
    if is_none(scale):
        factor: float | None = 1 / math.sqrt(shapes[0][-1])
    else:
        factor = number(scale)
    if factor is None:
        return None
    addends = [] if is_none(mask) else [mask]
    return _checked(Attention(query, key, value, addends, factor, bool(constant(causal))))


def match_spelled_out(op: ir.Operation) -> Attention | None:
    """`matmul(softmax(scores), v)` whose scores are a scaled `matmul(q, transpose(k))` plus anything."""
    probabilities, value = op.operands
    softmax = defined_by(probabilities, "softmax.int", "_softmax")
    if softmax is None or not is_f32(value) or not is_f32(probabilities):
        return None
    rank = len(shape_of(value))
    axis = constant(softmax.operands[1])
    if rank not in (3, 4) or axis not in (-1, rank - 1) or not is_f32(softmax.operands[0]):
        return None
    scores = _scores(softmax.operands[0])
    if scores is None:
        return None
    product, scale, addends = scores
    query, transposed = product.operands
    if not all(is_f32(addend) for addend in addends):
        return None
    if not is_f32(query) or not is_f32(transposed) or len(shape_of(query)) != rank:
        return None
    key = _swap_last(transposed)
    return _checked(Attention(query, key, value, addends, scale, False)) if key is not None else None


def _checked(found: Attention) -> Attention | None:
    query, key, value = shape_of(found.query), shape_of(found.key), shape_of(found.value)
    if len(query) != len(key) or len(key) != len(value):
        return None
    fits = query[0] == key[0] == value[0] and key[:-1] == value[:-1] and query[-1] == key[-1]
    if len(query) == 4:
        fits = fits and query[1] % key[1] == 0
    # PyTorch aligns the causal mask to the first query; lengths must agree for that to be the usual one.
    return found if fits and (not found.causal or query[-2] == key[-2]) else None


def _scores(value: ir.Value) -> tuple[ir.Operation, float, list[ir.Value]] | None:
    """The product, its factor and what is added to it."""
    op = defined_by(value, "matmul", "bmm")
    if op is not None:
        return op, 1.0, []
    op = defined_by(value, "mul.Scalar", "div.Scalar")
    if op is not None:
        inner, factor = _scores(op.operands[0]), number(op.operands[1])
        if inner is None or factor is None or factor == 0 or inner[2]:
            return None
        return inner[0], inner[1] * (factor if op.name.endswith("mul.Scalar") else 1 / factor), []
    op = defined_by(value, "add.Tensor")
    if op is not None and number(op.operands[2]) == 1.0:
        for scores, addend in ((op.operands[0], op.operands[1]), (op.operands[1], op.operands[0])):
            inner = _scores(scores)
            if inner is not None and tensor_of(scores) == tensor_of(value):
                return inner[0], inner[1], [*inner[2], addend]
    return None


def _swap_last(value: ir.Value) -> ir.Value | None:
    """The value whose last two axes `value` swaps, or None."""
    op = defined_by(value, "transpose.int", "permute")
    order = permutation(op) if op is not None else None
    if op is None or order is None:
        return None
    rank = len(order)
    if order == [*range(rank - 2), rank - 1, rank - 2]:
        return op.operands[0]
    # `permute(x, [0, 2, 3, 1])` splits heads and transposes in one; undo the transposition alone.
    return make_transpose(value, rank - 2, rank - 1) if order == [0, 2, 3, 1] else None


def convert_attention(op: ir.Operation, masks: MaskReader) -> bool:
    """Replaces the op that computes the result of attention. False where it is no attention of a known form."""
    with ir.InsertionPoint(op), op.location:
        fused = op.name == "torch.aten.scaled_dot_product_attention"
        found = match_fused(op) if fused else match_spelled_out(op)
        if found is None:
            return False
        query, key, value = shape_of(found.query), shape_of(found.key), shape_of(found.value)
        heads, kv_heads = (query[1], key[1]) if len(query) == 4 else (1, 1)
        scores = ScoreShape(query[0], heads, query[-2], key[-2])
        addends = found.addends
        if len(query) == 3:
            addends = [_with_head_axis(addend) for addend in addends]
        biases = masks.biases(addends, scores)
        if biases is None:
            return False
        key_bias, bias = (to_builtin(b) if b is not None else None for b in biases)
        operands = [to_builtin(token_major(v)) for v in (found.query, found.key, found.value)]
        shape = [query[0], query[-2], heads * value[-1]]
        made = AttentionOp.build(
            ir.RankedTensorType.get(shape, ir.F32Type.get()),
            **dict(zip(("query", "key", "value"), operands, strict=True)),
            heads=heads,
            kv_heads=kv_heads,
            scale=found.scale,
            causal=found.causal,
            key_bias=key_bias,
            bias=bias,
        )
        merged = from_builtin(made.result, ir.Type.parse(f"!torch.vtensor<[{','.join(map(str, shape))}],f32>"))
        if len(query) == 4:
            split = make_view(merged, (query[0], query[-2], heads, value[-1]))
            merged = make_transpose(split, 1, 2)
        op.results[0].replace_all_uses_with(merged)
    return True


def _with_head_axis(addend: ir.Value) -> ir.Value:
    """[batch, tokens, keys] as [batch, 1, tokens, keys]; fewer axes broadcast as they are."""
    tensor = tensor_of(addend)
    if tensor is None or len(tensor.shape) != 3:
        return addend
    return make_view(addend, (tensor.shape[0], 1, *tensor.shape[1:]))
