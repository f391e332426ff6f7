"""Load elimination: rows of a tile that use the same columns share the loads of x.

before (rows 0 and 1 of a tile use columns 2, 5, 7 and 2, 5: five loads of x per vector of tokens):
    {row_tile = 2 : i64, row_masks = [1, 2]}, columns = [2, 5, 7, 2, 5], segments = [[[0, 3], [3, 5]]]
after (both rows share 2 and 5; row 0 alone uses 7: three loads):
    {row_tile = 2 : i64, row_masks = [1, 2, 3]}, columns = [7, 2, 5], segments = [[[0, 1], [1, 1], [1, 3]]]

For each tile the pass proves which rows' column lists are equal, or equal in part, and joins those rows: a column that
rows i, j, k use moves to the segment of their common mask, and its weights become neighbours. If every tile of the
layer is uniform, one segment remains. Common-subexpression elimination cannot do this: the loads are in different
loops, over lists that are data. Source: GRIM, section 4 (load redundancy elimination).

The masks of the result depend on the tile's height and on whether all tiles are uniform, never on the mask of one
layer: full tiles `[2^rows - 1]`; up to four rows all masks; above, single rows and the full mask.

Preconditions: packed arrays that are `sparsity.weight`s, row masks of single rows (as `sparsity-pack` makes them);
other ops are left alone. Rationale: lists must be known to be compared; joined rows have nothing left to join.
"""

import dataclasses
import itertools

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of

from ..base import Pass, PassContext, walk
from .sparsity_pack import not_empty

# Masks of a tile up to this height are all given a loop: 2^4 - 1 = 15 loops.
_ALL_MASKS = 4


@dataclasses.dataclass
class JoinedRows:
    """Packed arrays after joining, and the loads of x per vector of tokens before and after."""

    masks: list[int]
    values: np.ndarray
    columns: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    loads_before: int
    loads_after: int


def _uniform(segments: np.ndarray, columns: np.ndarray) -> bool:
    """Whether in every tile all rows have equal lists."""
    if np.array_equal(segments, np.broadcast_to(segments[:, :1], segments.shape)):
        return True
    lengths = segments[..., 1] - segments[..., 0]
    if not np.array_equal(lengths, np.broadcast_to(lengths[:, :1], lengths.shape)):
        return False
    return all(
        np.array_equal(columns[a:b], columns[c:d]) for tile in segments for (a, b), (c, d) in itertools.pairwise(tile)
    )


def _join_uniform(values: np.ndarray, columns: np.ndarray, segments: np.ndarray, offsets: np.ndarray) -> JoinedRows:
    rows = segments.shape[1]
    lengths = segments[:, 0, 1] - segments[:, 0, 0]
    joined = np.empty(int(lengths.sum()) * rows, dtype=values.dtype)
    for offset, length in zip(offsets, lengths, strict=True):
        size = length * rows
        joined[offset : offset + size] = values[offset : offset + size].reshape(rows, length).T.reshape(-1)
    total = int(lengths.sum())
    full = (1 << rows) - 1
    return JoinedRows([full], joined, columns, segments[:, :1].copy(), offsets, total * rows, total)


def join_rows(values: np.ndarray, columns: np.ndarray, segments: np.ndarray, offsets: np.ndarray) -> JoinedRows:
    """Joins rows of tiles packed one row a segment. Arrays as in `sparsity.packed_linear`."""
    if _uniform(segments, columns):
        return _join_uniform(values, columns, segments, offsets)
    tiles, rows = segments.shape[:2]
    full = (1 << rows) - 1
    masks = list(range(1, full + 1)) if rows <= _ALL_MASKS else [*(1 << i for i in range(rows)), full]
    tile, row, column, value = _entries(values, columns, segments, offsets)

    # Entries of one tile and column are neighbours in this order; together their rows are the column's mask.
    order = np.lexsort((row, column, tile))
    tile, row, column, value = tile[order], row[order], column[order], value[order]
    first = np.flatnonzero(np.append(True, (tile[1:] != tile[:-1]) | (column[1:] != column[:-1])))
    shared = np.bitwise_or.reduceat(1 << row, first)
    mask = np.repeat(shared, np.diff(np.append(first, len(tile))))
    if rows > _ALL_MASKS:
        mask = np.where(mask == full, full, 1 << row)

    place = np.zeros(full + 1, dtype=np.int64)
    place[masks] = np.arange(len(masks))
    order = np.lexsort((row, column, place[mask], tile))
    tile, row, column, mask = tile[order], row[order], column[order], mask[order]
    # A column stands in its segment once, with the lowest row that uses it.
    heads = row == np.log2(mask & -mask).astype(np.int64)
    lengths = np.bincount((tile * len(masks) + place[mask])[heads], minlength=tiles * len(masks))
    stops = np.cumsum(lengths)
    new_segments = np.stack([stops - lengths, stops], axis=-1).reshape(tiles, len(masks), 2).astype(np.int32)
    sizes = np.bincount(tile, minlength=tiles)
    new_offsets = (np.cumsum(sizes) - sizes).astype(np.int32)
    kept = column[heads].astype(np.int32)
    return JoinedRows(masks, value[order], kept, new_segments, new_offsets, len(tile), len(kept))


def _entries(
    values: np.ndarray, columns: np.ndarray, segments: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tile, row, column and value of every weight of tiles packed one row a segment."""
    tiles, rows = segments.shape[:2]
    lengths = (segments[..., 1] - segments[..., 0]).reshape(-1)
    segment = np.repeat(np.arange(tiles * rows), lengths)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    column = columns[segments[..., 0].reshape(-1)[segment] + within]
    before = lengths.reshape(tiles, rows).cumsum(axis=1).reshape(-1) - lengths
    tile = segment // rows
    return tile, segment % rows, column.astype(np.int64), values[offsets[tile] + before[segment] + within]


@dataclasses.dataclass(frozen=True)
class SparsityEliminateLoads(Pass):
    """Joins rows of packed tiles that use the same columns, so that they share the loads of x."""

    name = "sparsity-eliminate-loads"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "sparsity.packed_linear", "sparsity.packed_conv"):
            names = ("values", "columns", "segments", "offsets")
            weights = [weight_behind(getattr(op, name)) for name in names]
            singles = [1 << i for i in range(op.row_tile.value)]
            if any(weight is None for weight in weights) or row_masks_of(op) != singles:
                continue
            arrays = [context.array(weight) for weight in weights]
            joined = join_rows(*arrays)
            context.count("vector-loads-before", joined.loads_before)
            context.count("vector-loads-after", joined.loads_after)
            context.count("uniform-layers" if len(joined.masks) == 1 else "mixed-layers")
            symbol = (symbol_of(weights[0]) or "literal").removesuffix("/values")
            with op.location, ir.InsertionPoint(op):
                for position, name in enumerate(names, start=1):
                    array = not_empty(getattr(joined, name))
                    made = make_weight(array, f"{symbol}/joined/{name}", context.weights, weights[0])
                    op.operation.operands[position] = made.result
                i64 = ir.IntegerType.get_signless(64)
                op.attributes["row_masks"] = ir.ArrayAttr.get([ir.IntegerAttr.get(i64, m) for m in joined.masks])
