"""Level 2: multi-head attention."""

from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import to_python
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, as_token_major, in_layout
from ..rules import check_layout, feature_axis, features_of, layout_of
from ..work_parts import Flops, Tokens, token_rows

# Scale, maximum, subtraction, `exp` and sum per score.
_SOFTMAX_FLOPS = 5


class AttentionOp(SparsityOp, name="attention", traits=[ext.Pure]):
    """Multi-head attention, all heads side by side in the feature dimension.

    ```mlir
    %y = "sparsity.attention"(%q, %k, %v, %mask) {heads = 12 : i64, kv_heads = 12 : i64, scale = 0.125 : f64,
         causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<1x128x768xf32>,
         tensor<1x128x768xf32>, tensor<1x128x768xf32>, tensor<1x128xf32>) -> tensor<1x128x768xf32>
    ```
    Per head h: `softmax(scale * q_h @ transpose(k_h) + key_bias + bias_h) @ v_h`. A query whose keys are
    all at minus infinity gives zeros, as PyTorch's scaled_dot_product_attention does.
    Operands: `query` [batch, tokens, heads * d], `key` [batch, keys, kv_heads * d], `value` [batch, keys,
    kv_heads * e], `key_bias` [batch, keys] (optional), `bias` [batch or 1, heads or 1, tokens, keys]
    (optional). In panels the biases are padded to whole panels: `key_bias` [batch, panels * panel] (minus
    infinity where a key is padding), and `bias` is transposed as well: [.., .., keys, tokens].
    With the optional attributes `offsets = [q, k, v]` and `depth = d` the operands may be one merged tensor: the
    features of the query's head h begin at `q + h * d`, likewise for key and value.
    Rejected: heads that do not divide the features, kv_heads that do not divide heads, shapes that differ.
    """

    result: TensorResult
    query: Tensor
    key: Tensor
    value: Tensor
    heads: ir.IntegerAttr
    kv_heads: ir.IntegerAttr
    scale: ir.FloatAttr
    # A false `BoolAttr` is falsy, and `ext` takes a falsy attribute for a missing one.
    causal: Any = ext.attribute(default_factory=lambda: ir.BoolAttr.get(False))
    key_bias: Tensor | None = None
    bias: Tensor | None = None

    OPTIONAL = ("layout", "offsets", "depth")
    MAPPING = MappingClass.MANY_TO_MANY
    IN_PANELS = ("query", "key", "value")

    @verifier
    def verify_invariants(op):
        query, key, value, result = (list(v.type.shape) for v in (op.query, op.key, op.value, op.result))
        layout = layout_of(op)
        panels = layout is not None
        rank = len(layout.shape(1, 1, 1)) if panels else 3
        for name, shape in (("query", query), ("key", key), ("value", value), ("result", result)):
            expect(len(shape) == rank, f"expected {name} to have {rank} dimensions, found {shape}")
        check_layout(op, op.query, op.key, op.value, op.result)
        axis = feature_axis(op, rank)
        features = {name: features_of(op, getattr(op, name)) for name in ("query", "key", "value", "result")}
        expect(isinstance(op.causal, ir.BoolAttr), f"expected 'causal' to be true or false, found {op.causal}")
        heads, kv_heads = op.heads.value, op.kv_heads.value
        expect(heads > 0 and kv_heads > 0, f"expected positive heads, found {heads} and {kv_heads}")
        expect(heads % kv_heads == 0, f"expected kv_heads ({kv_heads}) to divide heads ({heads})")
        if "offsets" in op.attributes:
            _check_merged(op, *features.values())
        else:
            expect(
                features["query"] % heads == 0,
                f"expected heads ({heads}) to divide the query's features ({features['query']})",
            )
            depth = features["query"] // heads
            expect(
                features["key"] == depth * kv_heads,
                f"expected key with {depth * kv_heads} features, found {features['key']}",
            )
            expect(features["value"] % kv_heads == 0, f"expected kv_heads ({kv_heads}) to divide the value's features")
            wanted, found = features["value"] // kv_heads * heads, features["result"]
            expect(found == wanted, f"expected a result with {wanted} features, found {found}")
        panel = layout.tile()[0] if panels else 1
        tokens, keys = query[1] * panel, key[1] * panel
        expect(value[:axis] == key[:axis], f"expected key and value of equal length, found {key} and {value}")
        expect(result[:axis] == query[:axis], f"expected a result as long as the query {query}, found {result}")
        if op.key_bias is not None:
            found = list(op.key_bias.type.shape)
            expect(found == [query[0], keys], f"expected key_bias of shape [{query[0]}, {keys}], found {found}")
        if op.bias is not None:
            found = list(op.bias.type.shape)
            last = [keys, tokens] if panels else [tokens, keys]
            fits = len(found) == 4 and found[0] in (1, query[0]) and found[1] in (1, heads) and found[2:] == last
            expect(fits, f"expected bias [{query[0]} or 1, {heads} or 1, {last[0]}, {last[1]}], found {found}")

    def reference(op, query: Array, key: Array, value: Array, key_bias: Array | None, bias: Array | None) -> Array:
        heads, kv_heads = op.heads.value, op.kv_heads.value
        offsets, depth, out_depth = head_slices(op)

        def split(x: Array, offset: int, count: int, width: int) -> Array:
            x = as_token_major(op, x)[..., offset : offset + count * width].astype(np.float64)
            return x.reshape(*x.shape[:2], count, width).transpose(0, 2, 1, 3)

        q = split(query, offsets[0], heads, depth)
        k, v = (
            np.repeat(split(x, offset, kv_heads, width), heads // kv_heads, axis=1)
            for x, offset, width in ((key, offsets[1], depth), (value, offsets[2], out_depth))
        )
        scores = masked_scores(op, op.scale.value * (q @ k.transpose(0, 1, 3, 2)), key_bias, bias)
        largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        powers = np.exp(scores - np.where(np.isneginf(largest), 0.0, largest))
        total = powers.sum(axis=-1, keepdims=True)
        y = (powers / np.where(total == 0.0, 1.0, total)) @ v
        return in_layout(op, y.transpose(0, 2, 1, 3).reshape(*y.shape[::2], -1))

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        _, depth, out_depth = head_slices(op)
        heads, batch = op.heads.value, op.query.type.shape[0]
        per_score = 2 * depth + 2 * out_depth + _SOFTMAX_FLOPS + (op.key_bias is not None) + (op.bias is not None)
        queries, keys = token_rows(op, op.query, tokens), token_rows(op, op.key, tokens)
        real, padded = (heads * q * (k // batch * per_score + out_depth) for q, k in zip(queries, keys, strict=True))
        return Flops(real, padded)


def masked_scores(op: ir.OpView, scores: Array, key_bias: Array | None, bias: Array | None) -> Array:
    """`scores` [batch, heads, tokens, keys] with the biases and the causal mask of the op."""
    if key_bias is not None:
        scores = scores + key_bias[:, None, None, :].astype(np.float64)
    if bias is not None:
        bias = bias.astype(np.float64)
        scores = scores + (bias if layout_of(op) is None else bias.transpose(0, 1, 3, 2))
    if op.causal.value:
        later = np.arange(scores.shape[3]) > np.arange(scores.shape[2])[:, None]
        scores = np.where(later, -np.inf, scores)
    return scores


def head_slices(op: ir.OpView) -> tuple[list[int], int, int]:
    """Where query, key and value begin in the features of their operands, and the features of a head of
    query/key and of value: `([q, k, v], depth, value depth)`.
    """
    heads = op.heads.value
    out_depth = features_of(op, op.result) // heads
    if "offsets" in op.attributes:
        return [o.value for o in op.attributes["offsets"]], op.attributes["depth"].value, out_depth
    return [0, 0, 0], features_of(op, op.query) // heads, out_depth


def _check_merged(op: ir.OpView, *features: int) -> None:
    """The rules of `offsets` and `depth`; `features` of query, key, value and result."""
    offsets = to_python(op.attributes["offsets"])
    expect(
        isinstance(offsets, list) and len(offsets) == 3 and all(type(o) is int and o >= 0 for o in offsets),
        f"expected 'offsets' to be three positions, found {op.attributes['offsets']}",
    )
    expect("depth" in op.attributes, "expected 'depth' beside 'offsets', found none")
    depth = to_python(op.attributes["depth"])
    expect(type(depth) is int and depth > 0, f"expected 'depth' to be a positive integer, found {depth}")
    heads, kv_heads, result = op.heads.value, op.kv_heads.value, features[3]
    expect(result % heads == 0, f"expected heads ({heads}) to divide the result's features ({result})")
    out_depth = result // heads
    ends = (heads * depth, kv_heads * depth, kv_heads * out_depth)
    for name, offset, length, found in zip(("query", "key", "value"), offsets, ends, features, strict=False):
        end = offset + length
        expect(end <= found, f"expected {name} with {end} features or more, found {found}")
