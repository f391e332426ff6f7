"""Packs the weight of a linear layer as block-column-row compressed (BCRC) tiles, one column list per row.

before:
    %w = "sparsity.weight"() {source = "fc.weight", sparsity.encoding = #sparsity.bcr<...>} : () -> tensor<8x16xf32>
    %y = "sparsity.linear"(%x, %w, %b) {sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, ...}>}
after:
    %values = "sparsity.weight"() {source = "fc.weight/values"} : () -> tensor<40xf32>
    %columns, %segments, %offsets, %rows, %work = ... : i32 arrays, see sparsity.packed_linear
    %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work, %b)
         {row_tile = 4 : i64, row_masks = [1, 2, 4, 8], ...}

Every row of a tile has a segment of its own here; `sparsity-eliminate-loads` joins those that share columns. Column
lists are kept once per group of equal rows (BCRC's compact column). A tile never mixes rows of two groups where groups
fill whole tiles; its last rows are repeated where a group ends early, and the repeats are counted as padding. A zero
in the middle of a unit that was kept as a whole is stored, too (`kept_columns`).
Source: GRIM, section 4 (BCRC storage).

Preconditions: the weight is a `sparsity.weight` of f32 and the op has a schedule with a row tile; other ops are left
alone. Rationale: only known zeros can be left out, and tiles are the order in which the kernel reads.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import NUMBERS, ORDER, SCHEDULE
from secateur.dialects.sparsity.ops.packed_linear import PackedLinearOp
from secateur.dialects.sparsity.ops.weight import encoding_of, make_weight, symbol_of, weight_behind

from ..base import Pass, PassContext, PassFailure, walk
from .sparsity_reorder import kept_columns, row_patterns


def cut_tiles(patterns: np.ndarray, row_tile: int) -> np.ndarray:
    """Positions [tiles, row_tile] in the reordered rows. `patterns` numbers the column pattern of each of them.

    Groups of equal rows are cut into tiles of their own where that repeats at most as many rows as one in eight;
    otherwise tiles run across groups. A tile at an end repeats its last position.
    """
    count = len(patterns)
    starts = np.flatnonzero(np.concatenate(([True], patterns[1:] != patterns[:-1])))
    stops = np.append(starts[1:], count)
    within = -(-(stops - starts) // row_tile)
    if within.sum() * row_tile * 8 > count * 9 and len(starts) > 1:
        starts, stops = np.array([0]), np.array([count])
        within = -(-(stops - starts) // row_tile)
    tiles = []
    for start, stop, number in zip(starts, stops, within, strict=True):
        at = start + np.arange(number * row_tile)
        tiles.append(np.minimum(at, stop - 1).reshape(number, row_tile))
    return np.concatenate(tiles)


@dataclasses.dataclass
class PackedRows:
    """The arrays of a packed op; see `sparsity.packed_linear`."""

    values: np.ndarray
    columns: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray


def pack_rows(weight: np.ndarray, order: np.ndarray, row_tile: int, keep: np.ndarray | None = None) -> PackedRows:
    """Packs `weight` [rows, columns] in `order`, one segment per row of a tile; `keep` (default: what is not zero)."""
    keep = (weight != 0 if keep is None else keep)[order]
    patterns = row_patterns(keep)
    tiles = cut_tiles(patterns, row_tile)
    _, first = np.unique(patterns, return_index=True)
    lengths = keep[first].sum(axis=1)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    columns = np.nonzero(keep[first])[1].astype(np.int32)
    pattern = patterns[tiles]
    segments = np.stack([starts[pattern], starts[pattern] + lengths[pattern]], axis=-1).astype(np.int32)
    source = order[tiles.reshape(-1)]
    counts = lengths[pattern].sum(axis=1)
    offsets = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int32)
    values = weight[source][keep[tiles.reshape(-1)]]
    return PackedRows(values, columns, segments, offsets, order[tiles].astype(np.int32))


def not_empty(array: np.ndarray) -> np.ndarray:
    """`array`, or one zero where it has no element: executables take no empty buffers."""
    return array if array.size else np.zeros(1, array.dtype)


@dataclasses.dataclass(frozen=True)
class SparsityPack(Pass):
    """Packs the weights of linear layers (BCRC), one column list per row."""

    name = "sparsity-pack"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "sparsity.linear"):
            weight = weight_behind(op.weight)
            if weight is None or SCHEDULE not in op.attributes or str(weight.result.type.element_type) != "f32":
                continue
            schedule = op.attributes[SCHEDULE].values()
            if "row_tile" not in schedule:
                raise PassFailure(op, "expected its schedule to have 'row_tile', found none")
            array = context.array(weight)
            order = np.arange(len(array))
            if ORDER in op.attributes:
                order = np.array(op.attributes[ORDER])
                if not np.array_equal(np.sort(order), np.arange(len(array))):
                    raise PassFailure(op, f"expected '{ORDER}' to be a permutation of its {len(array)} rows")
            packed = pack_rows(array, order, schedule["row_tile"], kept_columns(op, array, encoding_of(weight)))
            self._replace(op, weight, packed, context)
            kept = int(np.count_nonzero(array))
            context.count("kept-weights", kept)
            context.count("padding-values", int(packed.values.size) - kept)

    def _replace(self, op: ir.OpView, weight: ir.OpView, packed: PackedRows, context: PassContext) -> None:
        tiles, row_tile = packed.rows.shape
        symbol = symbol_of(weight) or "literal"
        with op.location, ir.InsertionPoint(op):
            arrays = {name: not_empty(getattr(packed, name)) for name in ("values", "columns")}
            arrays |= {name: getattr(packed, name) for name in ("segments", "offsets", "rows")}
            arrays["work"] = np.array([0, tiles], dtype=np.int32)
            made = {n: make_weight(a, f"{symbol}/{n}", context.weights, weight).result for n, a in arrays.items()}
            kept = {name: op.attributes.get(name, None) for name in ("activation", SCHEDULE, NUMBERS)}
            new = PackedLinearOp.build(
                op.result.type,
                x=op.x,
                **made,
                row_tile=row_tile,
                row_masks=[1 << i for i in range(row_tile)],
                bias=op.bias,
                residual=op.residual,
                **kept,
            )
        op.result.replace_all_uses_with(new.result)
        op.operation.erase()
        context.count("packed-values", int(packed.values.size))
        context.count("repeated-rows", int(tiles * row_tile - len(np.unique(packed.rows))))
