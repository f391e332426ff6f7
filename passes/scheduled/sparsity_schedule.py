"""Attaches a schedule to every linear layer and convolution that has none.

before:
    %y = "sparsity.linear"(%x, %w, %b) {...}
after:
    %y = "sparsity.linear"(%x, %w, %b) {..., sparsity.schedule = #sparsity.schedule<{row_tile = 6 : i64,
                                                                 token_vectors = 4 : i64, workgroups = 8 : i64}>}

The default row tile follows the encoding of the weight. Where bands of rows share one column list (dense, BCR with
one-column blocks) any row tile can share loads of x, and the one with the best modelled throughput is taken: taller
tiles need fewer loads per multiply-add, but pad bands that they do not divide. Elsewhere rows of a tile differ, and
four rows keep the number of row masks (15) small. For NEON, row tile and token vectors are those with the fewest
instructions for the band, or, on bytes, for the columns that neighbouring rows share, and four columns make an
iteration (`schedule_by_lane.py`). On a GPU a thread has as many sums as its registers hold, and where few threads are
left, several share the columns of a tile (`schedule_threads.py`). Options force a value for all layers; an existing
schedule stays.

With few tokens to a sequence, rows are the lanes (`row_vectors`, see `sparsity-pack-rows`), as long as that beats lanes
of tokens that stay idle.

With `records`, a file that `secateur tune` wrote, a layer that was tuned for this target with these tools gets the
schedule that was measured to be the fastest; the others get the default. A record that asks for what the layer cannot
have is passed over. `panel` is the one that `sparsity-layout` is told, so that records for it are found.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import SCHEDULE, Schedule, numbers_of
from secateur.dialects.sparsity.ops.weight import encoding_of, weight_behind

from ..base import Pass, PassContext, PassFailure, walk
from ..target import TargetDescription, target_of
from .schedule_by_lane import UNROLL, default_block, default_mixed_block
from .schedule_records import chosen_schedules, code_generator, record_key, signature_of, target_text
from .schedule_space import KNOBS, is_legal, is_mixed, layer_of
from .schedule_threads import schedule_of_threads
from .sparsity_pack_rows import default_row_vectors
from .sparsity_reorder import kept_columns

# Rows of a tile whose columns differ are told apart by a mask; 2^4 - 1 loops are still little code.
MASKED_ROW_TILE = 4
TOKEN_VECTORS = 4
# Rows that tell enough of what neighbours have in common.
_ROWS_LOOKED_AT = 1024
# The fields of the schedule that an option gives to all layers; the tuner, which is for CPUs, has no use for the last.
_FIELDS = (*(knob.name for knob in KNOBS), "column_pieces", "pixels")
# Fraction of the multiply-add peak reached by the number of rows that share a load of x (one core, AVX-512).
_THROUGHPUT = {1: 0.35, 2: 0.6, 3: 0.75, 4: 0.9, 5: 0.95, 6: 1.0}

# Of convolutions: rows of a tile, and what a load that may cross two lines of the cache costs in multiply-adds (Zen 4,
# vectors of 64 bytes: tiles of 4, 5, 6 and 8 rows reach 63, 82, 95 and 101 GFLOP/s where 118 are the peak).
_CONVOLUTION_TILES = (1, 2, 3, 4, 6, 8, 16)
_UNALIGNED_CYCLES = 6


def default_row_tile(
    encoding: ir.Attribute | None, rows: int, tokens: int, target: TargetDescription, on_bytes: bool = False
) -> int:
    """Rows that one load of x serves, for a weight with `rows` output features and `tokens` of all sequences.

    `on_bytes`: of products of bytes.
    """
    band = rows if encoding is None else encoding.encoding().band(rows)
    if band is None:
        return MASKED_ROW_TILE
    if target.by_lane:
        return default_block(band, target, on_bytes=on_bytes)["row_tile"]
    # Sums, the vectors of x and one spare for the weight have to fit the registers.
    limit = max(1, (target.registers - TOKEN_VECTORS - 1) // TOKEN_VECTORS)
    candidates = [t for t in _THROUGHPUT if t <= limit]
    return max(candidates, key=lambda tile: (band / (-(-band // tile) * tile) * _THROUGHPUT[tile], tile))


def _of_threads(encoding: ir.Attribute | None, weight: np.ndarray, tokens: int, target: TargetDescription,
                row_tile: int) -> dict[str, int]:  # fmt: skip
    """The block of a GPU's thread, where neighbouring rows share their columns; else only the masked tile."""
    rows = len(weight)
    if is_mixed(encoding):
        return {"row_tile": row_tile or MASKED_ROW_TILE}
    band = rows if encoding is None else encoding.encoding().band(rows)
    columns = max(1, round(np.count_nonzero(weight) / rows))
    return schedule_of_threads(band, rows, columns, tokens, target, row_tile)


def default_schedule(
    op: ir.OpView, target: TargetDescription, context: PassContext, row_tile: int = 0
) -> dict[str, int]:
    """The schedule of a `sparsity.linear` of which nothing was measured, with the `row_tile` that is given, if any."""
    weight = weight_behind(op.weight)
    encoding = encoding_of(weight) if weight is not None else None
    tokens = math.prod(op.x.type.shape[:-1])
    rows, on_bytes = op.weight.type.shape[0], numbers_of(op).arithmetic.rounds_activations
    if target.threads:
        array = np.ones(op.weight.type.shape) if weight is None else context.array(weight)
        return {**_of_threads(encoding, array, tokens, target, row_tile), "workgroups": 1}
    block = {"token_vectors": TOKEN_VECTORS}
    if target.by_lane and on_bytes and is_mixed(encoding) and not row_tile:
        keep = kept_columns(op, context.array(weight)[:_ROWS_LOOKED_AT], encoding)
        row_tile, vectors = default_mixed_block(keep)
        block = {"token_vectors": vectors, "unroll": UNROLL}
    row_tile = min(row_tile or default_row_tile(encoding, rows, tokens, target, on_bytes), rows)
    if target.by_lane and "unroll" not in block:
        block = default_block(row_tile, target, row_tile, on_bytes)
        if is_mixed(encoding) and row_tile > MASKED_ROW_TILE:
            # A loop for each subset of a tall tile's rows is much code already.
            block.pop("unroll", None)
    pieces = max(1, min(-(-rows // row_tile), 4 * max(target.workers, 2)))
    schedule = block | {"row_tile": row_tile, "workgroups": pieces}
    rows_as_lanes = default_row_vectors(op, target)
    if rows_as_lanes:
        # There, `unroll` counts steps, and the kernel's own choice is better.
        schedule.pop("unroll", None)
    return schedule | rows_as_lanes


def schedule_of_convolution(op: ir.OpView, target: TargetDescription, row_tile: int = 0) -> dict[str, int]:
    """The schedule of a `sparsity.conv` of which nothing was measured: that of a linear layer of its filters whose
    tokens are pixels. Filters of two groups share no load, so a tile has filters of one."""
    weight = weight_behind(op.weight)
    encoding = encoding_of(weight) if weight is not None else None
    filters = op.weight.type.shape[0] // op.groups.value
    band = filters if encoding is None else encoding.encoding().band(filters)
    if target.by_lane:
        row_tile = min(row_tile or (MASKED_ROW_TILE if band is None else 0), filters)
        block = default_block(band or filters, target, row_tile)
        if band is None:
            block.pop("unroll", None)
    else:
        block = _of_unaligned_loads(band or MASKED_ROW_TILE, min(row_tile, filters), target)
    pieces = max(1, min(-(-op.weight.type.shape[0] // block["row_tile"]), 4 * max(target.workers, 2)))
    return block | {"workgroups": pieces}


def _of_unaligned_loads(band: int, row_tile: int, target: TargetDescription) -> dict[str, int]:
    """Rows and vectors of pixels of a tile where a multiply-add takes a cycle and a load of x several, because the
    pixels that a weight meets begin anywhere in a line of the cache."""

    def cycles(block: tuple[int, int]) -> tuple[float, int]:
        tile, vectors = block
        column = max(tile * vectors, _UNALIGNED_CYCLES * vectors)
        return -(-band // tile) * tile * column / (tile * vectors), -tile * vectors

    def fits(tile: int, vectors: int) -> bool:
        return (tile + 1) * vectors + 1 <= target.registers

    tiles = [row_tile] if row_tile else [tile for tile in _CONVOLUTION_TILES if tile <= band]
    blocks = [(tile, vectors) for tile in tiles for vectors in (1, 2, 4) if fits(tile, vectors)]
    tile, vectors = min(blocks, key=cycles, default=(tiles[0], 1))
    return {"row_tile": tile, "token_vectors": vectors}


# A pass with an option for every knob.
_Knobs: type = dataclasses.make_dataclass("_Knobs", [(name, int, 0) for name in _FIELDS], bases=(Pass,), frozen=True)


@dataclasses.dataclass(frozen=True)
class SparsitySchedule(_Knobs):
    """Attaches a tuned, a given or a default schedule to every linear layer that has none."""

    records: str = ""
    panel: int = 0

    name = "sparsity-schedule"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for option in (*_FIELDS, "panel"):
            if getattr(self, option) < 0:
                text = f"expected '{option.replace('_', '-')}' of 0 (default) or more, found {getattr(self, option)}"
                raise PassFailure(module.operation, text)
        if self.records and not Path(self.records).is_file():
            raise PassFailure(module.operation, f"expected 'records' to name a file, found '{self.records}'")
        target = target_of(module)
        tuned = chosen_schedules(Path(self.records)) if self.records else {}
        given = {name: getattr(self, name) for name in _FIELDS}
        for op in walk(module, "sparsity.linear"):
            if SCHEDULE in op.attributes:
                continue
            schedule = default_schedule(op, target, context, self.row_tile)
            if tuned:
                found = self._recorded(op, module, context, tuned)
                schedule |= found
            schedule |= {name: value for name, value in given.items() if value}
            schedule["row_tile"] = min(schedule["row_tile"], op.weight.type.shape[0])
            with op.location:
                op.attributes[SCHEDULE] = Schedule.of(**{name: value for name, value in schedule.items() if value})
            context.count("schedules-attached")
        # A GPU has no kernel of its own for them.
        for op in walk(module, "sparsity.conv") if not target.threads else ():
            if SCHEDULE in op.attributes:
                continue
            schedule = schedule_of_convolution(op, target, self.row_tile)
            schedule |= {name: value for name, value in given.items() if value}
            with op.location:
                op.attributes[SCHEDULE] = Schedule.of(**schedule)
            context.count("schedules-attached")

    def _recorded(
        self, op: ir.OpView, module: ir.Module, context: PassContext, tuned: dict[str, dict[str, int]]
    ) -> dict[str, int]:
        """The tuned schedule of `op`; empty where there is none that it can have."""
        signature = signature_of(op, context, self.panel)
        layer = layer_of(op, target_of(module), self.panel)
        if signature is None or layer is None:
            return {}
        key = record_key(signature, target_text(module), code_generator())
        found = tuned.get(key, {})
        if not found or not (is_legal(layer, found) or found == default_schedule(op, layer.target, context)):
            return {}
        context.count("schedules-from-records")
        context.count(f"record-{key}")
        return found
