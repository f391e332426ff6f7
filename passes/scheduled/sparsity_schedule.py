"""Attaches a schedule to every linear layer that has none.

before:
    %y = "sparsity.linear"(%x, %w, %b) {...}
after:
    %y = "sparsity.linear"(%x, %w, %b) {..., sparsity.schedule = #sparsity.schedule<{row_tile = 6 : i64,
                                                                 token_vectors = 4 : i64, workgroups = 8 : i64}>}

The default row tile follows the encoding of the weight. Where bands of rows share one column list (dense, BCR with
one-column blocks) any row tile can share loads of x, and the one with the best modelled throughput is taken: taller
tiles need fewer loads per multiply-add, but pad bands that they do not divide. Elsewhere rows of a tile differ, and
four rows keep the number of row masks (15) small. Options force a value for all layers; an existing schedule stays.
"""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import SCHEDULE, Bcr, Dense, Schedule
from secateur.dialects.sparsity.weights import encoding_of, weight_behind

from ..base import Pass, PassContext, PassFailure, walk
from ..target import TargetDescription, target_of

# Rows of a tile whose columns differ are told apart by a mask; 2^4 - 1 loops are still little code.
MASKED_ROW_TILE = 4
TOKEN_VECTORS = 4
# Fraction of the multiply-add peak reached by the number of rows that share a load of x (one core, AVX-512).
_THROUGHPUT = {1: 0.35, 2: 0.6, 3: 0.75, 4: 0.9, 5: 0.95, 6: 1.0}


def default_row_tile(encoding: ir.Attribute | None, rows: int, target: TargetDescription) -> int:
    """Rows that one load of x serves, for a weight with `rows` output features."""
    if isinstance(encoding, Bcr):
        values = encoding.values()
        if values["block_columns"] > 1:
            return MASKED_ROW_TILE
        band = min(values["block_rows"], rows)
    elif isinstance(encoding, Dense) or encoding is None:
        band = rows
    else:
        return MASKED_ROW_TILE
    # Sums, the vectors of x and one spare for the weight have to fit the registers.
    limit = max(1, (target.registers - TOKEN_VECTORS - 1) // TOKEN_VECTORS)
    candidates = [t for t in _THROUGHPUT if t <= limit]
    return max(candidates, key=lambda tile: (band / (-(-band // tile) * tile) * _THROUGHPUT[tile], tile))


@dataclasses.dataclass(frozen=True)
class SparsitySchedule(Pass):
    """Attaches a default or a given schedule to every linear layer that has none."""

    row_tile: int = 0
    token_vectors: int = 0
    workgroups: int = 0

    name = "sparsity-schedule"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for option in ("row_tile", "token_vectors", "workgroups"):
            if getattr(self, option) < 0:
                text = f"expected '{option.replace('_', '-')}' of 0 (default) or more, found {getattr(self, option)}"
                raise PassFailure(module.operation, text)
        target = target_of(module)
        for op in walk(module, "sparsity.linear"):
            if SCHEDULE in op.attributes:
                continue
            weight = weight_behind(op.weight)
            encoding = encoding_of(weight) if weight is not None else None
            rows = op.weight.type.shape[0]
            row_tile = min(self.row_tile or default_row_tile(encoding, rows, target), rows)
            pieces = max(1, min(-(-rows // row_tile), 4 * max(target.workers, 2)))
            with op.location:
                op.attributes[SCHEDULE] = Schedule.of(
                    row_tile=row_tile,
                    token_vectors=self.token_vectors or TOKEN_VECTORS,
                    workgroups=self.workgroups or pieces,
                )
            context.count("schedules-attached")
