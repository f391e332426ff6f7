"""NumPy references of the linears whose weights are packed, and the dense weights that they hold."""

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from .packed_ops import VALUES_PADDING, half_sums_of, row_masks_of
from .reference_parts import Array, EvaluationError, as_token_major, epilogue
from .structural_ops import layout_of


def packed_linear(
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
    """The reference of `sparsity.packed_linear`."""
    x = as_token_major(op, x)
    weight = unpack(op, (values, columns, segments, offsets, rows, work), x.shape[-1])
    if scales is not None:
        weight *= scales[:, None].astype(np.float64)
    if half_sums_of(op):
        x = x.astype(np.float16)
    return epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)


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


def sliced_linear(
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
    """The reference of `sparsity.sliced_linear`."""
    weight = unpack_slices(op, (values, columns, offsets, rows, work), x.shape[-1])
    if slice_scales is not None:
        scales = np.zeros(len(weight))
        scales[rows] = slice_scales
        weight *= scales[:, None]
    bias = None
    if slice_bias is not None:
        bias = np.zeros(len(weight))
        bias[rows] = slice_bias
    return epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)


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
