"""The meaning of every `sparsity` op but `dispatch`, in NumPy: what passes and kernels are checked against.

Floats are computed in float64 and rounded once, to the element type of the result. An op with a panel
`layout` is computed on token-major arrays: panels are unpacked, the result is packed again.
A function of `REFERENCES` has the op's operands as parameters, by their names; absent ones are None.
"""

import inspect
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from ..weight_store import WeightStore
from .attention_op import head_slices
from .packed_reference import packed_linear, sliced_linear
from .reference_parts import (
    Array,
    EvaluationError,
    activate,
    as_token_major,
    dtype_of,
    epilogue,
    from_panels,
    in_layout,
)
from .structural_ops import layout_of
from .weights import WeightError, array_of


def evaluate(op: ir.OpView, operands: Sequence[Array], weights: WeightStore) -> list[Array]:
    """The results of a `sparsity` op. `operands` are the arrays of `op.operands`, those that are present.

    Raises `EvaluationError` where the op has no reference, an operand does not fit its type, or its
    contents break a rule that no verifier sees (an index outside a table, a row that no tile computes).
    """
    name = op.operation.name
    if name not in REFERENCES:
        raise EvaluationError("has no reference")
    for number, (value, array) in enumerate(zip(op.operation.operands, operands, strict=True)):
        expected = (list(value.type.shape), dtype_of(value.type.element_type))
        fits = all(e < 0 or e == f for e, f in zip(expected[0], array.shape, strict=False))
        if len(expected[0]) != array.ndim or not fits or array.dtype != expected[1]:
            found = f"{array.dtype}{list(array.shape)}"
            raise EvaluationError(f"expected operand {number} to be {expected[1]}{expected[0]}, found {found}")
    if name == "sparsity.weight":
        return [_weight(op, weights)]
    function, arrays = REFERENCES[name], iter(operands)
    named = {
        parameter: None if getattr(op, parameter) is None else next(arrays)
        for parameter in list(inspect.signature(function).parameters)[1:]
    }
    return [function(op, **named).astype(dtype_of(op.result.type.element_type))]


def _weight(op: ir.OpView, weights: WeightStore) -> Array:
    try:
        return array_of(op, weights)
    except WeightError as error:
        raise EvaluationError(str(error)) from None


def _linear(op: ir.OpView, x: Array, weight: Array, bias: Array | None, residual: Array | None) -> Array:
    return epilogue(op, x.astype(np.float64) @ weight.astype(np.float64).T, bias, residual)


def _attention(
    op: ir.OpView, query: Array, key: Array, value: Array, key_bias: Array | None, bias: Array | None
) -> Array:
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
    scores = op.scale.value * (q @ k.transpose(0, 1, 3, 2))
    if key_bias is not None:
        scores = scores + key_bias[:, None, None, :].astype(np.float64)
    if bias is not None:
        bias = bias.astype(np.float64)
        scores = scores + (bias if layout_of(op) is None else bias.transpose(0, 1, 3, 2))
    if op.causal.value:
        later = np.arange(scores.shape[3]) > np.arange(scores.shape[2])[:, None]
        scores = np.where(later, -np.inf, scores)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(scores - np.where(np.isneginf(largest), 0.0, largest))
    total = powers.sum(axis=-1, keepdims=True)
    y = (powers / np.where(total == 0.0, 1.0, total)) @ v
    return in_layout(op, y.transpose(0, 2, 1, 3).reshape(*y.shape[::2], -1))


def _layer_norm(op: ir.OpView, x: Array, weight: Array, bias: Array, residual: Array | None) -> Array:
    h = x.astype(np.float64) if residual is None else x.astype(np.float64) + residual
    h = as_token_major(op, h)
    # Distances to the first feature: equal features have a variance of zero, also in float64.
    distances = h - h[..., :1]
    deviation = distances - distances.mean(axis=-1, keepdims=True)
    variance = (deviation**2).mean(axis=-1, keepdims=True)
    return in_layout(op, deviation / np.sqrt(variance + op.epsilon.value) * weight + bias)


def _activation(op: ir.OpView, x: Array) -> Array:
    return activate(op.kind.value, x)


def _add(op: ir.OpView, lhs: Array, rhs: Array) -> Array:
    if dtype_of(op.result.type.element_type).kind in "iub":
        return lhs + rhs
    return lhs.astype(np.float64) + rhs.astype(np.float64)


def _embedding(op: ir.OpView, indices: Array, table: Array, scales: Array | None) -> Array:
    outside = indices[(indices < 0) | (indices >= len(table))]
    if outside.size:
        raise EvaluationError(f"expected indices from 0 to {len(table) - 1}, found {int(outside[0])}")
    rows = table[indices]
    return rows if scales is None else rows * scales[indices][..., None].astype(np.float64)


def _to_panels(op: ir.OpView, x: Array) -> Array:
    return in_layout(op, x)


def _from_panels(op: ir.OpView, x: Array) -> Array:
    return from_panels(x, op.result.type.shape[1])


REFERENCES: dict[str, Callable[..., Array]] = {
    "sparsity.weight": _weight,
    "sparsity.linear": _linear,
    "sparsity.attention": _attention,
    "sparsity.layer_norm": _layer_norm,
    "sparsity.activation": _activation,
    "sparsity.add": _add,
    "sparsity.embedding": _embedding,
    "sparsity.packed_linear": packed_linear,
    "sparsity.sliced_linear": sliced_linear,
    "sparsity.to_panels": _to_panels,
    "sparsity.from_panels": _from_panels,
}
