"""Level 2: attention of the last tokens of a sequence on a cache of keys and values."""

from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, EvaluationError
from ..work_parts import Flops, Tokens

# Scale, maximum, subtraction, `exp` and sum per score.
_SOFTMAX_FLOPS = 5


class CachedAttentionOp(SparsityOp, name="cached_attention", traits=[ext.Pure]):
    """Multi-head attention of a few tokens on the rows of a cache, their own among them.

    ```mlir
    %y = "sparsity.cached_attention"(%q, %keys, %values, %length) {heads = 9 : i64, kv_heads = 3 : i64,
         scale = 0.125 : f64, causal = true, window = 64 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} :
         (tensor<1x4x576xf32>, tensor<1x512x192xf32>, tensor<1x512x192xf32>, tensor<1xi32>) -> tensor<1x4x576xf32>
    ```
    Of each sequence, the first `length` rows of the cache hold keys and values; the rest is not looked at. The queries
    are those of the last `tokens` of these rows: query i stands at row `length - tokens + i`. Per head h:
    `softmax(scale * q_h @ transpose(k_g) + bias_h) @ v_g` over the rows that the query sees, where g is the group
    `h * kv_heads / heads` of the head. With `causal` a query sees no row behind its own; with `window` only the last
    `window` rows up to its own. A query that sees no row gives zeros.
    Operands: `query` [batch, tokens, heads * d], `keys` [batch, capacity, kv_heads * d], `values` [batch, capacity,
    kv_heads * e], both f32 or f16, `length` [batch] of i32, from `tokens` to `capacity`, `bias` [batch or 1, heads or
    1, tokens, capacity] (optional).
    Rejected: heads that do not divide the features, kv_heads that do not divide heads, shapes that differ, a window
    below 1.
    """

    result: TensorResult
    query: Tensor
    keys: Tensor
    values: Tensor
    length: Tensor
    heads: ir.IntegerAttr
    kv_heads: ir.IntegerAttr
    scale: ir.FloatAttr
    # A false `BoolAttr` is falsy, and `ext` takes a falsy attribute for a missing one.
    causal: Any = ext.attribute(default_factory=lambda: ir.BoolAttr.get(True))
    bias: Tensor | None = None

    OPTIONAL = ("window",)
    MAPPING = MappingClass.MANY_TO_MANY

    @verifier
    def verify_invariants(op):
        shapes = {name: list(getattr(op, name).type.shape) for name in ("query", "keys", "values", "result")}
        for name, shape in shapes.items():
            expect(len(shape) == 3, f"expected {name} to have 3 dimensions, found {shape}")
        query, keys, values, result = shapes.values()
        heads, kv_heads = op.heads.value, op.kv_heads.value
        expect(heads > 0 and kv_heads > 0, f"expected positive heads, found {heads} and {kv_heads}")
        expect(heads % kv_heads == 0, f"expected kv_heads ({kv_heads}) to divide heads ({heads})")
        expect(query[2] % heads == 0, f"expected heads ({heads}) to divide the query's features ({query[2]})")
        wanted = [query[0], keys[1], query[2] // heads * kv_heads]
        expect(keys == wanted, f"expected keys of shape {wanted}, found {keys}")
        expect(values[:2] == keys[:2], f"expected values of {keys[1]} rows as the keys {keys}, found {values}")
        expect(values[2] % kv_heads == 0, f"expected kv_heads ({kv_heads}) to divide the values' features")
        expect(query[1] <= keys[1], f"expected room for {query[1]} tokens, found {keys[1]} rows")
        wanted = [*query[:2], values[2] // kv_heads * heads]
        expect(result == wanted, f"expected a result of shape {wanted}, found {result}")
        elements = {str(getattr(op, name).type.element_type) for name in ("keys", "values")}
        expect(
            elements in ({"f32"}, {"f16"}),
            f"expected keys and values of f32 or f16, found {', '.join(sorted(elements))}",
        )
        found, kind = list(op.length.type.shape), str(op.length.type.element_type)
        expect(found == query[:1] and kind == "i32", f"expected length [{query[0]}] of i32, found {found} of {kind}")
        expect(isinstance(op.causal, ir.BoolAttr), f"expected 'causal' to be true or false, found {op.causal}")
        window = window_of(op)
        expect(window is None or window > 0, f"expected 'window' of 1 or more, found {window}")
        if op.bias is not None:
            found = list(op.bias.type.shape)
            fits = len(found) == 4 and found[0] in (1, query[0]) and found[1] in (1, heads)
            fits = fits and found[2:] == [query[1], keys[1]]
            expect(fits, f"expected bias [{query[0]} or 1, {heads} or 1, {query[1]}, {keys[1]}], found {found}")

    def reference(op, query: Array, keys: Array, values: Array, length: Array, bias: Array | None) -> Array:
        heads, kv_heads, window = op.heads.value, op.kv_heads.value, window_of(op)
        tokens, capacity = query.shape[1], keys.shape[1]
        wrong = length[(length < tokens) | (length > capacity)]
        if wrong.size:
            raise EvaluationError(f"has a length of {wrong[0]}; accepted are {tokens} to {capacity}")

        def split(x: Array, count: int) -> Array:
            return x.astype(np.float64).reshape(*x.shape[:2], count, -1).transpose(0, 2, 1, 3)

        q = split(query, heads)
        k, v = (np.repeat(split(x, kv_heads), heads // kv_heads, axis=1) for x in (keys, values))
        own = (length[:, None] - tokens + np.arange(tokens))[:, None, :, None]
        rows = np.arange(capacity)
        seen = rows < length[:, None, None, None]
        if op.causal.value:
            seen = seen & (rows <= own)
        if window is not None:
            seen = seen & (rows > own - window)
        # Rows that hold nothing may hold anything.
        held = rows[:, None] < length[:, None, None, None]
        k, v = np.where(held, k, 0.0), np.where(held, v, 0.0)
        scores = op.scale.value * (q @ k.transpose(0, 1, 3, 2))
        scores = np.where(seen, scores if bias is None else scores + bias.astype(np.float64), -np.inf)
        largest = scores.max(axis=-1, keepdims=True)
        powers = np.exp(scores - np.where(np.isneginf(largest), 0.0, largest))
        total = powers.sum(axis=-1, keepdims=True)
        y = (powers / np.where(total == 0.0, 1.0, total)) @ v
        return y.transpose(0, 2, 1, 3).reshape(*query.shape[:2], -1)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        # How many rows are held is known at run time; a full cache is the most.
        batch, count, features = op.query.type.shape
        out = op.result.type.shape[2]
        per_row = 2 * features + 2 * out + op.heads.value * (_SOFTMAX_FLOPS + (op.bias is not None))
        total = batch * count * (op.keys.type.shape[1] * per_row + out)
        return Flops(total, total)


def window_of(op: ir.OpView) -> int | None:
    """How many rows a query sees at most; None where that is not limited."""
    return op.attributes["window"].value if "window" in op.attributes else None
