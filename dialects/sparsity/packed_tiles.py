"""Packed tiles of rows, which several ops store their weights in: the rules, and the dense weights that they hold.

`sparsity.packed_linear` describes the arrays.
"""

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir

from .dialect import expect
from .reference_parts import Array, EvaluationError
from .rules import layout_of


def row_masks_of(op: ir.OpView) -> list[int]:
    """The classes of a packed op: bit i of a mask is set where row i of a tile takes part."""
    return [mask.value for mask in op.row_masks]


def check_packed(op: ir.OpView) -> None:
    """Shapes and types of the packed arrays, and the row masks."""
    integers = all(isinstance(mask, ir.IntegerAttr) for mask in op.row_masks)
    expect(integers, f"expected row masks to be integers, found {op.row_masks}")
    row_tile, masks = op.row_tile.value, row_masks_of(op)
    expect(1 <= row_tile <= 32, f"expected row_tile from 1 to 32, found {row_tile}")
    expect(bool(masks), "expected at least one row mask, found none")
    for mask in masks:
        expect(0 < mask < 1 << row_tile, f"expected row masks of {row_tile} bits, none empty, found {mask}")
    expect(len(set(masks)) == len(masks), f"expected different row masks, found {masks}")
    rows = list(op.rows.type.shape)
    expect(len(rows) == 2 and rows[1] == row_tile, f"expected rows [tiles, {row_tile}], found {rows}")
    for name, expected in (("segments", [rows[0], len(masks), 2]), ("offsets", [rows[0]])):
        found = list(getattr(op, name).type.shape)
        expect(found == expected, f"expected {name} of shape {expected}, found {found}")
    for name in ("values", "columns", "work"):
        found = list(getattr(op, name).type.shape)
        expect(len(found) == 1, f"expected {name} to have one dimension, found {found}")
    for name in ("columns", "segments", "offsets", "rows", "work"):
        element = getattr(op, name).type.element_type
        expect(str(element) == "i32", f"expected {name} of i32, found {element}")


def unpack(
    op: ir.OpView,
    arrays: Sequence[Array],
    columns_of_x: int,
    group: int = 1,
    padding: int = 0,
    run: int = 1,
    count: int | None = None,
) -> Array:
    """The dense weight `[rows, features]` in float64 that the packed arrays of an op hold, without scales.

    `arrays`: values, columns, segments, offsets, rows, work. A column entry is one of `columns_of_x` and stands for
    `group` features, with as many values for each row; `padding` values at the end belong to no tile. The values that a
    row has of `run` entries are neighbours. `count`: the rows, by default the features of the result. Raises
    `EvaluationError` where they break the op's rules: work that leaves out tiles, a position outside an array, a row
    that no tile has, or two tiles that disagree on a row.
    """
    values, columns, segments, offsets, rows, work = arrays
    count = count or op.result.type.shape[-1 if layout_of(op) is None else -2]
    tiles = len(offsets)
    if len(work) < 2 or work[0] != 0 or work[-1] != tiles or (np.diff(work) < 0).any():
        raise EvaluationError(f"expected 'work' to cover tiles 0 .. {tiles} in order, found {work.tolist()}")
    bits = [[i for i in range(op.row_tile.value) if mask >> i & 1] for mask in row_masks_of(op)]
    used = len(values) - padding
    weight, known = np.zeros((count, columns_of_x, group)), np.zeros(count, bool)
    for t in range(tiles):
        tile, at = np.zeros((op.row_tile.value, columns_of_x, group)), int(offsets[t])
        for s, lanes in enumerate(bits):
            begin, end = map(int, segments[t, s])
            taken = (end - begin) * len(lanes) * group
            where = f"segment {s} of tile {t}"
            if not (0 <= begin <= end <= len(columns) and at >= 0 and at + taken <= used):
                raise EvaluationError(f"expected {where} inside columns and values, found {begin}..{end}")
            if (end - begin) % run:
                raise EvaluationError(f"expected {where} in runs of {run} columns, found {begin}..{end}")
            listed = columns[begin:end]
            if ((listed < 0) | (listed >= columns_of_x)).any():
                raise EvaluationError(f"expected columns below {columns_of_x} in tile {t}, found {listed.tolist()}")
            # A column may stand in several segments of a row: its values add up.
            block = values[at : at + taken].reshape(-1, len(lanes), run, group).transpose(0, 2, 1, 3)
            block = block.reshape(-1, len(lanes), group)
            places = (np.array(lanes) * columns_of_x + listed[:, None])[..., None] * group + np.arange(group)
            tile += np.bincount(places.reshape(-1), block.reshape(-1), tile.size).reshape(tile.shape)
            at += taken
        for i, row in enumerate(rows[t].tolist()):
            if not 0 <= row < count:
                raise EvaluationError(f"expected rows below {count} in tile {t}, found {row}")
            if known[row] and not np.array_equal(weight[row], tile[i]):
                raise EvaluationError(f"expected one set of values for row {row}, found another in tile {t}")
            weight[row], known[row] = tile[i], True
    if not known.all():
        raise EvaluationError(f"expected every row in a tile, found none for row {int(np.argmin(known))}")
    return weight.reshape(count, -1)


def kept_weights(
    values: np.ndarray,
    segments: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    masks: list[int],
    group: int = 1,
    neighbours: int = 1,
) -> tuple[int, int]:
    """Weights of packed tiles that are not zero, each once, and weights that a kernel multiplies by.

    Arrays as in `sparsity.packed_linear`, with `group` values for each row that uses a column entry, and `neighbours`
    values of a row side by side.
    """
    lengths = (segments[..., 1] - segments[..., 0]).astype(np.int64)
    ones = np.array([mask.bit_count() for mask in masks])
    computed = int((lengths * ones).sum()) * group
    # A tile that ends early repeats its last row, with equal weights.
    repeated = np.zeros(rows.shape, bool)
    repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    again = 0
    for tile in np.flatnonzero(repeated.any(axis=1)):
        place = int(offsets[tile])
        for mask, length in zip(masks, lengths[tile], strict=True):
            used = [i for i in range(rows.shape[1]) if mask >> i & 1]
            size = length * len(used) * group
            block = values[place : place + size].reshape(-1, len(used), neighbours)
            again += int(np.count_nonzero(block[:, repeated[tile, used]]))
            place += block.size
    return int(np.count_nonzero(values)) - again, computed
