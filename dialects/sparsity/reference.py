"""The meaning of every `sparsity` op but `dispatch`, in NumPy: what passes and kernels are checked against.

Floats are computed in float64 and rounded once, to the element type of the result. An op with a panel
`layout` is computed on token-major arrays: panels are unpacked, the result is packed again.
A function of `REFERENCES` has the op's operands as parameters, by their names; absent ones are None.
"""

import inspect
import math
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from ..weight_store import WeightStore
from .attention_op import head_slices
from .packed_ops import VALUES_PADDING, half_sums_of, row_masks_of
from .structural_ops import activation_of, layout_of
from .weights import WeightError, array_of

Array = np.ndarray
_INTEGERS = {"i1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "index": "int64"}
_FLOATS = {"f16": "float16", "f32": "float32", "f64": "float64"}


class EvaluationError(Exception):
    """An op cannot be computed on these operands. The text continues `'sparsity.x' op`."""


def dtype_of(element: ir.Type | str) -> np.dtype:
    """The NumPy type of an element type (or its text), `bf16` by `ml_dtypes`. Raises `EvaluationError` for another."""
    name = str(element)
    name = name[1:] if name[:2] in ("si", "ui") else name
    if name == "bf16":
        try:
            import ml_dtypes
        except ImportError:
            raise EvaluationError("has elements of bf16, for which the package ml_dtypes is missing") from None
        return np.dtype(ml_dtypes.bfloat16)
    known = _INTEGERS | _FLOATS
    if name not in known:
        raise EvaluationError(f"has elements of {element}; accepted: bf16, {', '.join(known)}")
    return np.dtype("u" + known[name]) if str(element).startswith("ui") else np.dtype(known[name])


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


def to_panels(x: Array, panel: int) -> Array:
    """`[batch, tokens, features]` to `[batch, panels, features, panel]`, the last panel filled with zeros."""
    batch, tokens, features = x.shape
    panels = -(-tokens // panel)
    padded = np.zeros((batch, panels * panel, features), x.dtype)
    padded[:, :tokens] = x
    return padded.reshape(batch, panels, panel, features).transpose(0, 1, 3, 2)


def from_panels(x: Array, tokens: int | None = None) -> Array:
    """`[batch, panels, features, panel]` to `[batch, tokens, features]`; all tokens where no number is given."""
    batch, panels, features, panel = x.shape
    return x.transpose(0, 1, 3, 2).reshape(batch, panels * panel, features)[:, :tokens]


def activate(kind: str, x: Array) -> Array:
    """`kind(x)`, element-wise, in float64. `kind` is one of `structural_ops.ACTIVATIONS`."""
    x = x.astype(np.float64)
    if kind == "none":
        return x
    if kind == "relu":
        return np.maximum(x, 0.0)
    if kind == "gelu":
        # NumPy has no erf; the C library's is exact to the last bit and fast enough through one flat list.
        erf = np.fromiter(map(math.erf, (x / math.sqrt(2.0)).ravel().tolist()), np.float64, x.size)
        return 0.5 * x * (1.0 + erf.reshape(x.shape))
    if kind == "gelu_tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "tanh":
        return np.tanh(x)
    # This form of the logistic function does not overflow on either side.
    logistic = 0.5 * (1.0 + np.tanh(0.5 * x))
    if kind == "sigmoid":
        return logistic
    if kind == "silu":
        return x * logistic
    raise EvaluationError(f"has the unknown activation '{kind}'")


def _weight(op: ir.OpView, weights: WeightStore) -> Array:
    try:
        return array_of(op, weights)
    except WeightError as error:
        raise EvaluationError(str(error)) from None


def _unpacked(op: ir.OpView, x: Array) -> Array:
    return x if layout_of(op) is None else from_panels(x)


def _packed(op: ir.OpView, x: Array) -> Array:
    layout = layout_of(op)
    return x if layout is None else to_panels(x, layout.values()["panel"])


def _epilogue(op: ir.OpView, y: Array, bias: Array | None, residual: Array | None) -> Array:
    if bias is not None:
        y = y + bias
    y = _packed(op, activate(activation_of(op), y))
    return y if residual is None else y + residual


def _linear(op: ir.OpView, x: Array, weight: Array, bias: Array | None, residual: Array | None) -> Array:
    return _epilogue(op, x.astype(np.float64) @ weight.astype(np.float64).T, bias, residual)


def _packed_linear(
    op: ir.OpView,
    x: Array,
    values: Array,
    columns: Array,
    segments: Array,
    offsets: Array,
    rows: Array,
    work: Array,
    bias: Array | None,
    residual: Array | None,
    scales: Array | None,
) -> Array:
    x = _unpacked(op, x)
    weight = unpack(op, (values, columns, segments, offsets, rows, work), x.shape[-1])
    if scales is not None:
        weight *= scales[:, None].astype(np.float64)
    if half_sums_of(op):
        x = x.astype(np.float16)
    return _epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)


def unpack(op: ir.OpView, arrays: Sequence[Array], features: int) -> Array:
    """The dense weight `[rows, features]` in float64 that the packed arrays of a `packed_linear` hold, without scales.

    `arrays`: values, columns, segments, offsets, rows, work. Raises `EvaluationError` where they break the
    op's rules: work that leaves out tiles, a position outside an array, a row that no tile has, or two
    tiles that disagree on a row.
    """
    values, columns, segments, offsets, rows, work = arrays
    count = op.result.type.shape[-1 if layout_of(op) is None else -2]
    tiles = len(offsets)
    if len(work) < 2 or work[0] != 0 or work[-1] != tiles or (np.diff(work) < 0).any():
        raise EvaluationError(f"expected 'work' to cover tiles 0 .. {tiles} in order, found {work.tolist()}")
    bits = [[i for i in range(op.row_tile.value) if mask >> i & 1] for mask in row_masks_of(op)]
    used = len(values) if values.dtype == np.float32 else len(values) - VALUES_PADDING
    weight, known = np.zeros((count, features)), np.zeros(count, bool)
    for t in range(tiles):
        tile, at = np.zeros((op.row_tile.value, features)), int(offsets[t])
        for s, lanes in enumerate(bits):
            begin, end = map(int, segments[t, s])
            taken = (end - begin) * len(lanes)
            if not (0 <= begin <= end <= len(columns) and at >= 0 and at + taken <= used):
                where = f"segment {s} of tile {t}"
                raise EvaluationError(f"expected {where} inside columns and values, found {begin}..{end}")
            listed = columns[begin:end]
            if ((listed < 0) | (listed >= features)).any():
                raise EvaluationError(f"expected columns below {features} in tile {t}, found {listed.tolist()}")
            # A column may stand in several segments of a row: its values add up.
            np.add.at(tile.T, (listed[:, None], np.array(lanes)), values[at : at + taken].reshape(-1, len(lanes)))
            at += taken
        for i, row in enumerate(rows[t].tolist()):
            if not 0 <= row < count:
                raise EvaluationError(f"expected rows below {count} in tile {t}, found {row}")
            if known[row] and not np.array_equal(weight[row], tile[i]):
                raise EvaluationError(f"expected one set of values for row {row}, found another in tile {t}")
            weight[row], known[row] = tile[i], True
    if not known.all():
        raise EvaluationError(f"expected every row in a tile, found none for row {int(np.argmin(known))}")
    return weight


def _sliced_linear(
    op: ir.OpView,
    x: Array,
    values: Array,
    columns: Array,
    offsets: Array,
    rows: Array,
    work: Array,
    slice_bias: Array | None,
    residual: Array | None,
    slice_scales: Array | None,
) -> Array:
    weight = unpack_slices(op, (values, columns, offsets, rows, work), x.shape[-1])
    if slice_scales is not None:
        scales = np.zeros(len(weight))
        scales[rows] = slice_scales
        weight *= scales[:, None]
    bias = None
    if slice_bias is not None:
        bias = np.zeros(len(weight))
        bias[rows] = slice_bias
    return _epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)


def unpack_slices(op: ir.OpView, arrays: Sequence[Array], features: int) -> Array:
    """The dense weight `[rows, features]` in float64 that the arrays of a `sliced_linear` hold, without scales.

    `arrays`: values, columns, offsets, rows, work. Raises `EvaluationError` where they break the op's rules: work that
    leaves out slices, a position outside an array, a row that no slice has, or two that disagree on a row.
    """
    values, columns, offsets, rows, work = arrays
    (slices, height), lists, count = rows.shape, columns.shape[1], op.result.type.shape[-1]
    if offsets[-1] > len(values):
        raise EvaluationError(f"expected 'offsets' up to {len(values)} steps, found {int(offsets[-1])}")
    for name, bounds, last in (("work", work, slices), ("offsets", offsets, offsets[-1])):
        if bounds[0] != 0 or bounds[-1] != last or (np.diff(bounds) < 0).any():
            raise EvaluationError(f"expected '{name}' to cover 0 .. {last} in order, found {bounds.tolist()}")
    for name, entries, end in (("columns", columns, features), ("rows", rows, count)):
        if entries.min() < 0:
            raise EvaluationError(f"expected {name} from 0, found {int(entries.min())}")
        if entries.max() >= end:
            raise EvaluationError(f"expected {name} below {end}, found {int(entries.max())}")
    weight, known = np.zeros((count, features)), np.zeros(count, bool)
    row = np.arange(height)
    for s in range(slices):
        part, steps = np.zeros((height, features)), slice(offsets[s], offsets[s + 1])
        np.add.at(part, (row, columns[steps][:, row * lists // height]), values[steps])
        for i, feature in enumerate(rows[s].tolist()):
            if known[feature] and not np.array_equal(weight[feature], part[i]):
                raise EvaluationError(f"expected one set of values for row {feature}, found another in slice {s}")
            weight[feature], known[feature] = part[i], True
    if not known.all():
        raise EvaluationError(f"expected every row in a slice, found none for row {int(np.argmin(known))}")
    return weight


def _attention(
    op: ir.OpView, query: Array, key: Array, value: Array, key_bias: Array | None, bias: Array | None
) -> Array:
    heads, kv_heads = op.heads.value, op.kv_heads.value
    offsets, depth, out_depth = head_slices(op)

    def split(x: Array, offset: int, count: int, width: int) -> Array:
        x = _unpacked(op, x)[..., offset : offset + count * width].astype(np.float64)
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
    return _packed(op, y.transpose(0, 2, 1, 3).reshape(*y.shape[::2], -1))


def _layer_norm(op: ir.OpView, x: Array, weight: Array, bias: Array, residual: Array | None) -> Array:
    h = x.astype(np.float64) if residual is None else x.astype(np.float64) + residual
    h = _unpacked(op, h)
    deviation = h - h.mean(axis=-1, keepdims=True)
    variance = (deviation**2).mean(axis=-1, keepdims=True)
    return _packed(op, deviation / np.sqrt(variance + op.epsilon.value) * weight + bias)


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
    return _packed(op, x)


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
    "sparsity.packed_linear": _packed_linear,
    "sparsity.sliced_linear": _sliced_linear,
    "sparsity.to_panels": _to_panels,
    "sparsity.from_panels": _from_panels,
}
