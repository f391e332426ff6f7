"""Level 3, bytes: multi-head attention that multiplies bytes and sums them in 32 bits."""

from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...number_formats import Tolerance
from ...weight_store import WeightStore
from ..attributes import Layout
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, as_token_major, in_layout
from ..rules import check_layout
from ..work_parts import Flops, Tokens, token_rows
from .attention import masked_scores
from .quantize_heads import head_bytes, round_heads
from .quantize_tokens import ZERO_POINTS
from .quantized_linear import QUAD

SMALLEST_SHARE = 2.0**-20
"""Scales of values count as at least this part of the head's largest: what is below adds nothing to a sum of bytes."""


def block_keys(op: ir.OpView) -> int:
    """Keys that are weighed at once: whole panels, 128 keys at most."""
    panels, panel = op.keys_values.type.shape[1], op.layout.tile()[0]
    return panel * max(n for n in range(1, panels + 1) if panels % n == 0 and (n == 1 or n * panel <= 128))


def largest_weight(op: ir.OpView) -> int:
    """What the largest weight of a query is rounded from; one more fits a byte, signed or unsigned."""
    return 254 if op.zero_point.value else 126


class QuantizedAttentionOp(SparsityOp, name="quantized_attention", traits=[ext.Pure]):
    """Multi-head attention of f32 queries and keys and values in bytes; both products sum bytes in 32 bits.

    ```mlir
    %y = "sparsity.quantized_attention"(%q, %b, %mask) {heads = 12 : i64, kv_heads = 12 : i64, depth = 64 : i64,
         value_depth = 64 : i64, offset = 0 : i64, scale = 0.125 : f64, causal = false, zero_point = 128 : i64, layout =
         #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x2x2304x64xf32>, tensor<1x2x12x8704xi8>, tensor<1x128xf32>) -> tensor<1x2x768x64xf32>
    ```
    The query of head h, features `offset + h * depth` and on, is rounded as `sparsity.quantize_heads` rounds keys. With
    bytes `q`, `k`, `v`, their scales `sq`, `sk`, `sv`, S the largest `sv` of the head, `r_k = max(sv_k / S, 2^-20)` and
    L = 254 (126 with `zero_point = 0`), a query's result is

        score_k  = scale * sq * sk_k * (q . k_k) + key_bias_k + bias_k         (minus infinity behind a causal query)
        e_k      = r_k * exp(score_k) / max over k of (r_k * exp(score_k))
        C_k      = L * (e_0 + ... + e_k),    w_k = round(C_k) - round(C_(k - 1))
        result_f = S * (sum of w_k * v_k,f) / (sum of L * e_k / r_k)

    The weights `w` are bytes. The scale of a value is part of its weight, and the largest weight of each query is the
    largest byte, so that one large value does not take all bits. The sum of the weights is rounded, not each of them
    (error diffusion: Floyd, Steinberg, "An Adaptive Algorithm for Spatial Greyscale", SID 17 (2), 1976, on a line): a
    peak with a long tail of small weights keeps the mass of its tail, where rounding each weight loses it. The divisor
    is the exact sum, which that of the weights follows within half a unit. A query whose keys are all at minus infinity
    gives zeros, as in `sparsity.attention`. A NaN or an infinity of a query makes its results NaN, one of a key or
    value those of its head.

    Keys are taken in blocks of `block_keys`, so that scores need little memory: the maximum so far is in place of the
    largest (weights before a new maximum are finer), and each block's sum C begins at zero.

    Operands: `query` [batch, panels, features, panel] f32, `keys_values` as `sparsity.quantize_heads` makes them,
    `key_bias` [batch, keys] and `bias` [batch or 1, heads or 1, keys, tokens] f32, padded to whole panels (optional).
    Rejected: what `sparsity.attention` rejects, another zero point, bytes of another shape.
    """

    result: TensorResult
    query: Tensor
    keys_values: Tensor
    heads: ir.IntegerAttr
    kv_heads: ir.IntegerAttr
    depth: ir.IntegerAttr
    value_depth: ir.IntegerAttr
    offset: ir.IntegerAttr
    scale: ir.FloatAttr
    zero_point: ir.IntegerAttr
    layout: Layout
    # A false `BoolAttr` is falsy, and `ext` takes a falsy attribute for a missing one.
    causal: Any = ext.attribute(default_factory=lambda: ir.BoolAttr.get(False))
    key_bias: Tensor | None = None
    bias: Tensor | None = None

    MAPPING = MappingClass.MANY_TO_MANY
    # A weight between two bytes may be either.
    ACCEPTED = Tolerance(3e-3, 1e-2)

    @verifier
    def verify_invariants(op):
        op.layout.check()
        panel, inner = op.layout.tile()
        expect(inner == 1, f"expected a layout with inner = 1, found {inner}")
        check_layout(op, op.query, op.result)
        query, found, result = (list(v.type.shape) for v in (op.query, op.keys_values, op.result))
        heads, kv_heads, depth, value_depth = (
            getattr(op, name).value for name in ("heads", "kv_heads", "depth", "value_depth")
        )
        positive = min(heads, kv_heads, depth, value_depth) > 0 and depth % QUAD == 0
        expect(positive, f"expected heads and a depth in fours, found {[heads, kv_heads, depth, value_depth]}")
        expect(heads % kv_heads == 0, f"expected kv_heads ({kv_heads}) to divide heads ({heads})")
        expect(isinstance(op.causal, ir.BoolAttr), f"expected 'causal' to be true or false, found {op.causal}")
        start, end = op.offset.value, op.offset.value + heads * depth
        expect(start >= 0 and end <= query[2], f"expected a query with {end} features or more, found {query[2]}")
        wanted = [*query[:2], heads * value_depth, panel]
        expect(result == wanted, f"expected a result of shape {wanted}, found {result}")
        size = head_bytes(panel, depth, value_depth)
        fits = len(found) == 4 and found[0] == query[0] and found[2:] == [kv_heads, size]
        expect(fits, f"expected keys_values [{query[0]}, panels, {kv_heads}, {size}], found {found}")
        types = [str(v.type.element_type) for v in (op.query, op.keys_values, op.result)]
        expect(types == ["f32", "i8", "f32"], f"expected f32 and bytes to give f32, found {', '.join(types)}")
        keys, tokens = found[1] * panel, query[1] * panel
        if op.key_bias is not None:
            found = list(op.key_bias.type.shape)
            expect(found == [query[0], keys], f"expected key_bias of shape [{query[0]}, {keys}], found {found}")
        if op.bias is not None:
            found = list(op.bias.type.shape)
            fits = (
                len(found) == 4 and found[0] in (1, query[0]) and found[1] in (1, heads) and found[2:] == [keys, tokens]
            )
            expect(fits, f"expected bias [{query[0]} or 1, {heads} or 1, {keys}, {tokens}], found {found}")
        point = op.zero_point.value
        expect(point in ZERO_POINTS, f"expected a zero point of 0 or 128, found {point}")

    def reference(op, query: Array, keys_values: Array, key_bias: Array | None, bias: Array | None) -> Array:
        heads, group = op.heads.value, op.heads.value // op.kv_heads.value
        start, depth = op.offset.value, op.depth.value
        q = as_token_major(op, query)[..., start : start + heads * depth]
        q, q_scales = round_heads(q.reshape(*q.shape[:2], heads, depth).transpose(0, 2, 1, 3))
        k, v, k_scales, v_scales = (np.repeat(x, group, axis=1) for x in _unpacked(op, keys_values))
        both = q_scales[..., None].astype(np.float64) * k_scales[:, :, None]
        scores = masked_scores(op, op.scale.value * both * (q @ k.transpose(0, 1, 3, 2)), key_bias, bias)
        largest = np.maximum(v_scales.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
        shares = np.maximum(v_scales / largest, SMALLEST_SHARE)[:, :, None]
        sizes = scores + np.log(shares)
        # The lowest finite number: a query that sees no key has sums of zero.
        top, total, y = np.float64(np.finfo(np.float32).min), 0.0, 0.0
        for start in range(0, keys_values.shape[1] * op.layout.tile()[0], block_keys(op)):
            keys = slice(start, start + block_keys(op))
            before, top = top, np.maximum(top, sizes[..., keys].max(axis=-1, keepdims=True))
            e = largest_weight(op) * np.exp(sizes[..., keys] - top)
            weights = np.diff(np.rint(np.nan_to_num(e).cumsum(axis=-1)), axis=-1, prepend=0.0)
            total = total * np.exp(before - top) + (e / shares[..., keys]).sum(axis=-1, keepdims=True)
            y = y * np.exp(before - top) + weights @ v[:, :, keys]
        y = y * (largest[..., None] / np.where(total == 0.0, 1.0, total))
        return in_layout(op, y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1))

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        heads, depth, value_depth = op.heads.value, op.depth.value, op.value_depth.value
        panels, panel = op.keys_values.type.shape[1], op.layout.tile()[0]
        queries = token_rows(op, op.query, tokens)
        keys = (tokens.get((panels, panel), panels * panel), panels * panel)
        # Of a score: conversion, scales, the part of the value's scale, maximum, difference, `exp`, two sums, rounding.
        products = 2 * depth + 2 * value_depth
        per_score = products + 9 + (op.bias is not None)
        # Of a query: maximum, product and rounding of a feature, and conversion and factor of a result.
        per_query = 3 * depth + 2 * value_depth
        real, padded = (heads * q * (k * per_score + per_query) for q, k in zip(queries, keys, strict=True))
        return Flops(real, padded, on_bytes=heads * queries[0] * keys[0] * products)


def _unpacked(op: ir.OpView, keys_values: Array) -> list[Array]:
    """Keys and values [batch, kv_heads, keys, depth] without the zero point, float64; their scales [.., keys], f32."""
    panel, depth, value_depth = op.layout.tile()[0], op.depth.value, op.value_depth.value
    batch, panels, heads, _ = keys_values.shape
    cuts = np.cumsum([depth * panel, value_depth * panel, 4 * panel])
    k, v, *scales = np.split(keys_values, cuts, axis=3)
    k = k.view(np.uint8) if op.zero_point.value else k
    k = k.reshape(batch, panels, heads, depth // QUAD, panel, QUAD).transpose(0, 2, 1, 4, 3, 5)
    k = k.reshape(batch, heads, panels * panel, depth).astype(np.float64) - op.zero_point.value
    v = v.reshape(batch, panels, heads, value_depth, panel).transpose(0, 2, 1, 4, 3)
    v = v.reshape(batch, heads, panels * panel, value_depth).astype(np.float64)
    found = [np.ascontiguousarray(s).view("<f4").transpose(0, 2, 1, 3).reshape(batch, heads, -1) for s in scales]
    return [k, v, *found]
