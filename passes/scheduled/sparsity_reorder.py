"""Block-column-row reordering: finds the order of output rows in which equal rows are neighbours.

before (rows 0 and 2 keep the same columns, so do 1 and 3):
    %y = "sparsity.linear"(%x, %w) {...}
after:
    %y = "sparsity.linear"(%x, %w) {..., sparsity.order = dense<[0, 2, 1, 3]> : tensor<4xi32>}

Rows with the same column pattern become adjacent and form a group. In weights whose tiles hold rows with different
patterns, whole tiles of equal rows come first; each tile of the rest holds rows of one band that share many columns.
Nothing moves at run time: packing stores the weight in this order and the kernel writes every row where the next layer
expects it.
Source: GRIM, section 4 (matrix reorder); the tile filling is a greedy heuristic of our own.

A convolution is the matrix of its filters.

Preconditions: the weight is a `sparsity.weight` and the op has a schedule; other ops are left alone. Rationale: the
order depends on the zeros and on how many rows a tile has. A dense weight keeps its order: all its rows are equal.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import NUMBERS, ORDER, SCHEDULE, Bcr, Dense
from secateur.dialects.sparsity.ops.conv import as_matrix
from secateur.dialects.sparsity.ops.weight import encoding_of, weight_behind

from ..base import Pass, PassContext, walk


def kept_columns(op: ir.OpView, weight: np.ndarray, encoding: ir.Attribute | None) -> np.ndarray:
    """Which columns each row of `weight` keeps, for the `sparsity.linear` it belongs to.

    Those that are not zero, and zeros that stand where units of weights were kept: of rows of a band that have their
    columns in common, and, for a layer that multiplies bytes, of neighbouring columns that are multiplied together.
    Such units are taken where they add few zeros, so that a weight that happens to be zero does not split them.
    """
    keep = weight != 0
    rows, columns = weight.shape
    if isinstance(encoding, Dense):
        keep = _if_few_more(keep, np.ones_like(keep))
    elif isinstance(encoding, Bcr):
        band = encoding.values()["block_rows"]
        starts = np.arange(0, rows, band)
        whole = np.repeat(np.logical_or.reduceat(keep, starts), np.diff(np.append(starts, rows)), axis=0)
        keep = _if_few_more(keep, whole)
    elif op.operation.name == "sparsity.conv" and encoding is not None and op.groups.value == 1:
        kept = encoding.encoding().kept(keep.reshape(op.weight.type.shape))
        keep = _if_few_more(keep, kept.reshape(keep.shape))
    inner = op.attributes[NUMBERS].format().arithmetic.inner if NUMBERS in op.attributes else 1
    if inner > 1 and columns % inner == 0:
        whole = np.repeat(keep.reshape(rows, columns // inner, inner).any(axis=2), inner, axis=1)
        keep = _if_few_more(keep, whole)
    return keep


def _if_few_more(keep: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return whole if np.count_nonzero(whole) <= _MOST_OF_UNITS * np.count_nonzero(keep) else keep


def row_patterns(keep: np.ndarray) -> np.ndarray:
    """A number per row of `keep` [rows, columns], equal where rows keep the same columns, by first appearance."""
    # A weight may be the transpose of what a checkpoint holds.
    packed = np.ascontiguousarray(np.packbits(keep, axis=1))
    rows = packed.view([("", packed.dtype)] * packed.shape[1]).ravel()
    _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers.reshape(-1)]


def fill_tiles(keep: np.ndarray, rows: np.ndarray, row_tile: int, band: int) -> np.ndarray:
    """Orders `rows` so that each tile holds rows that share many columns with its first one.

    Tiles are filled within bands of `band` original rows, which were pruned together; what is left of the bands fills
    the last tiles. (Taking similar rows from any band is worse: it breaks up the bands they came from.)
    """
    dense = keep.astype(np.float32)
    tiles, left = [], []

    def take(members: np.ndarray) -> np.ndarray:
        near = members[:_WINDOW]
        shared = dense[near] @ dense[near[0]]
        shared[0] = np.inf
        # A stable sort keeps the original order among rows that share equally much.
        chosen = np.sort(np.argsort(-shared, kind="stable")[:row_tile])
        tiles.append(near[chosen])
        return np.delete(members, chosen)

    starts = np.flatnonzero(np.diff(rows // band)) + 1
    for members in np.split(rows, starts):
        while len(members) >= row_tile:
            members = take(members)
        left.append(members)
    rest = np.concatenate(left)
    while len(rest):
        rest = take(rest)
    return np.concatenate([rest, *tiles])


def row_order(keep: np.ndarray, row_tile: int, band: int, mixed: bool) -> np.ndarray:
    """The new order of rows: `result[i]` is the original row at place i.

    `mixed`: rows of a tile may differ, so whole tiles of equal rows come first and the other rows fill tiles; `band` is
    the number of rows that were pruned together.
    """
    patterns = row_patterns(keep)
    order = np.argsort(patterns, kind="stable")
    if not mixed:
        return order
    counts = np.bincount(patterns)
    group = patterns[order]
    place = np.arange(len(order)) - (np.cumsum(counts) - counts)[group]
    whole = place < counts[group] // row_tile * row_tile
    return np.concatenate([order[whole], fill_tiles(keep, np.sort(order[~whole]), row_tile, band)])


# Weights of kept units to those that are not zero. A product with a zero costs as much as any other.
_MOST_OF_UNITS = 1.25
# Comparing every row with every other is quadratic; the heuristic looks this far at most.
_WINDOW = 128


@dataclasses.dataclass(frozen=True)
class SparsityReorder(Pass):
    """Orders the rows of pruned weights so that rows with the same columns are neighbours."""

    name = "sparsity-reorder"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "sparsity.linear", "sparsity.conv"):
            weight = weight_behind(op.weight)
            if weight is None or SCHEDULE not in op.attributes or ORDER in op.attributes:
                continue
            encoding = encoding_of(weight)
            if encoding is None or isinstance(encoding, Dense):
                continue
            groups = op.groups.value if op.operation.name == "sparsity.conv" else 1
            keep = kept_columns(op, as_matrix(context.array(weight), groups), encoding)
            row_tile = op.attributes[SCHEDULE].values().get("row_tile", 1)
            mixed = encoding.encoding().band(2) is None
            band = encoding.values()["block_rows"] if isinstance(encoding, Bcr) else len(keep)
            order = row_order(keep, row_tile, max(band, row_tile), mixed).astype(np.int32)
            patterns = row_patterns(keep)[order]
            context.count("groups-formed", 1 + int(np.count_nonzero(patterns[1:] != patterns[:-1])))
            moved = int(np.count_nonzero(order != np.arange(len(order))))
            context.count("rows-moved", moved)
            if moved:
                with op.location:
                    op.attributes[ORDER] = ir.DenseElementsAttr.get(order)
