"""Cuts packed layers into workgroups and token blocks, as their schedule says.

before:
    %work = "sparsity.weight"() {source = dense<[0, 8]> : tensor<2xi32>}
    "sparsity.packed_linear"(..., %work, ...) {sparsity.schedule = #sparsity.schedule<{workgroups = 2 : i64, ...}>}
after:
    %work = "sparsity.weight"() {source = dense<[0, 3, 8]> : tensor<3xi32>}
    "sparsity.packed_linear"(..., %work, ...) {sparsity.schedule = #sparsity.schedule<{token_vectors = 4 : i64, ...}>}

Workgroups get equal numbers of multiply-adds, not of tiles: after pruning some tiles hold far more than others. The
vectors of tokens held in registers are the most that divide the panel, that the schedule allows and that leave the
row tile's sums in registers.

Preconditions: a schedule and packed arrays that are `sparsity.weight`s; other ops are left alone. Rationale: the
balance depends on the segments' lengths.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import SCHEDULE, Schedule
from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, walk
from ..target import target_of

# What one tile costs beside its multiply-adds (bounds, stores), in multiply-adds.
_TILE_OVERHEAD = 16


def balanced_bounds(costs: np.ndarray, pieces: int) -> np.ndarray:
    """Cuts `costs` [n] into `pieces` runs of about equal sums; returns the bounds [pieces + 1]."""
    total = np.concatenate(([0], np.cumsum(costs, dtype=np.float64)))
    bounds = np.searchsorted(total, total[-1] * np.arange(pieces + 1) / pieces)
    bounds[0], bounds[-1] = 0, len(costs)
    return np.maximum.accumulate(bounds).astype(np.int32)


def token_vectors(panel: int, lanes: int, wanted: int, row_tile: int, registers: int) -> int:
    """Vectors of tokens per row: sums, vectors of x and one weight have to fit the registers."""
    most = min(wanted, panel // lanes, registers)
    fitting = [v for v in range(1, most + 1) if panel % (v * lanes) == 0 and (row_tile + 1) * v + 1 <= registers]
    return max(fitting, default=1)


@dataclasses.dataclass(frozen=True)
class SparsityTile(Pass):
    """Cuts packed layers into balanced workgroups and blocks of tokens."""

    name = "sparsity-tile"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        for op in walk(module, "sparsity.packed_linear", "sparsity.packed_conv"):
            work, segments = weight_behind(op.work), weight_behind(op.segments)
            if SCHEDULE not in op.attributes or work is None or segments is None:
                continue
            schedule = op.attributes[SCHEDULE].values()
            bounds = context.array(segments)
            rows = np.array([bin(mask).count("1") for mask in row_masks_of(op)])
            costs = ((bounds[..., 1] - bounds[..., 0]) * rows).sum(axis=1) + _TILE_OVERHEAD
            pieces = min(schedule.get("workgroups", 1), len(costs))
            cut = balanced_bounds(costs, pieces)
            with op.location, ir.InsertionPoint(op):
                if not np.array_equal(cut, context.array(work)):
                    hint = (symbol_of(segments) or "literal").removesuffix("/segments") + "/work"
                    op.operation.operands[6] = make_weight(cut, hint, context.weights, work).result
                layout = layout_of(op)
                if layout is not None:
                    lanes = target.vector_bytes // 4
                    schedule["token_vectors"] = token_vectors(
                        layout.tile()[0],
                        lanes,
                        schedule.get("token_vectors", 1),
                        op.row_tile.value,
                        target.registers,
                    )
                op.attributes[SCHEDULE] = Schedule.of(**schedule)
            context.count("workgroups", pieces)
