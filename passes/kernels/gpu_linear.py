"""The kernel of packed layers on a GPU: a thread computes one tile of rows for some vectors of tokens.

Neighbouring threads have neighbouring tokens, so that they read neighbouring memory: a column of `x` in a feature-major
panel is one run of tokens. All threads of a tile walk the same column list, so that no thread waits for another's
branch, and its weights and indices are one address for all of them.

A layer with few rows and many columns would have few threads. With `column_pieces`, that many threads of a workgroup
take turns in the columns of a tile: thread `p` of `n` has columns p, p + n, p + 2n and so on. All write their sums to
workgroup memory, and behind one barrier each adds up and finishes a part of the tile's rows. There is no subgroup
operation: the code is right for any number of lanes.

A `sparsity.packed_linear` multiplies floats; for a `sparsity.quantized_linear`, columns are walked in fours of bytes
(`gpu_bytes.py`), and sums are integers until all pieces have met. With `sparsity.half_sums`, products are f16.
"""

import dataclasses
import functools
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, vector

from secateur.dialects.sparsity.attributes import SCHEDULE
from secateur.dialects.sparsity.ops.packed_linear import half_sums_of
from secateur.dialects.sparsity.ops.quantized_linear import QuantizedLinearOp
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import activation_of, layout_of

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value, add, index, largest_divisor, load_index, mul
from .gpu_bytes import ByteColumns, multiplies_bytes
from .gpu_columns import FloatColumns, HalfColumns
from .gpu_lanes import GpuLanes, is_half
from .linear import bits
from .workgroups import WORKGROUP_BYTES, barrier, shared_memory


def _activate(kind: str, x: Value, lanes: Lanes) -> Value:
    """`kind(x)` by the GPU's own functions. Those for CPUs round with sums that a shader compiler simplifies away."""
    if kind in ("none", "relu"):
        return lanes.activate(kind, x)
    if kind == "tanh":
        return math.tanh(x)
    one = lanes.constant(1.0)
    if kind in ("sigmoid", "silu"):
        numerator = x if kind == "silu" else one
        return arith.divf(numerator, arith.addf(math.exp(arith.negf(x)), one))
    if kind == "gelu":
        inner = math.erf(arith.mulf(x, lanes.constant(0.5**0.5)))
    elif kind == "gelu_tanh":
        cube = arith.addf(arith.mulf(arith.mulf(x, x), lanes.constant(0.044715)), one)
        inner = math.tanh(arith.mulf(arith.mulf(x, lanes.constant(0.7978845608028654)), cube))
    else:
        raise ValueError(f"no kernel for the activation '{kind}'")
    return arith.mulf(arith.mulf(x, lanes.constant(0.5)), arith.addf(inner, one))


@dataclasses.dataclass(frozen=True)
class LinearThreads:
    """Who computes what: a thread has `vectors` of a panel's tokens, `runs` threads a panel; `pieces` of them share the
    columns of a tile. `tiles`: tiles of rows in a workgroup."""

    vectors: int
    runs: int
    pieces: int
    tiles: int

    @property
    def workgroup(self) -> list[int]:
        """Threads of a workgroup in the directions of the grid: (runs of all pieces, tiles, panels)."""
        return [self.runs * self.pieces, self.tiles, 1]


def linear_threads(op: ir.OpView, most: int) -> LinearThreads | None:
    """The threads of an op in panels, `most` in a workgroup; None where its layout does not fit."""
    layout = layout_of(op)
    if layout is None or layout.tile()[0] % TOKENS_OF_A_THREAD or layout.tile()[1] != 1:
        return None
    if isinstance(op, QuantizedLinearOp) and not multiplies_bytes(op):
        return None
    schedule = op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}
    all_vectors = layout.tile()[0] // TOKENS_OF_A_THREAD
    vectors = largest_divisor(all_vectors, schedule.get("token_vectors", 1))
    runs = all_vectors // vectors
    pieces, sums = schedule.get("column_pieces", 1), 4 * TOKENS_OF_A_THREAD * op.row_tile.value * vectors
    # Each finishes as many rows as the others, and the sums of all fit the memory.
    while pieces > 1 and (op.row_tile.value % pieces or pieces * runs > most or pieces * runs * sums > WORKGROUP_BYTES):
        pieces -= 1
    tiles = most // (runs * pieces)
    if pieces > 1:
        tiles = min(tiles, WORKGROUP_BYTES // (pieces * runs * sums))
    return LinearThreads(vectors, runs, pieces, largest_divisor(op.rows.type.shape[0], max(1, tiles)))


def build_gpu_linear(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], panels: int, threads: LinearThreads
) -> None:
    """Adds the kernel's body. `place` is (run of tokens in the panel, of all pieces; tile; panel of all sequences)."""
    a, lanes, tile = arguments, GpuLanes(), place[1]
    run = place[0] if threads.pieces == 1 else arith.remui(place[0], index(threads.runs))
    # A thread's vectors lie apart, so that those of neighbours are neighbours.
    runs = [add(run, i * threads.runs) for i in range(threads.vectors)]
    # Of one sequence the panel is the number itself.
    batch = index(0) if op.result.type.shape[0] == 1 else arith.divui(place[2], index(panels))
    panel = place[2] if op.result.type.shape[0] == 1 else arith.remui(place[2], index(panels))
    masks, row_tile = row_masks_of(op), op.row_tile.value
    # Weights of four rows are one load where every column has weights for all rows.
    full = masks == [2**row_tile - 1] and row_tile % TOKENS_OF_A_THREAD == 0
    columns: FloatColumns | ByteColumns = FloatColumns(a, [batch, panel], runs, full)
    if half_sums_of(op) and is_half(a["x"]):
        columns = HalfColumns(a, [batch, panel], runs, full, half_sums_of(op), op.x.type.shape[2])
    if isinstance(op, QuantizedLinearOp):
        columns = ByteColumns(op, a, [batch, panel], runs, full)
    sums = [[columns.zero()] * threads.vectors for _ in range(row_tile)]
    if threads.pieces > 1:
        shape = [threads.pieces, row_tile, threads.vectors, threads.runs * threads.tiles]
        shared = shared_memory(shape, columns.zero().type)
    weight = columns.first_weight(load_index(a["offsets"], tile))
    piece = index(0) if threads.pieces == 1 else arith.divui(place[0], index(threads.runs))
    for s, mask in enumerate(masks):
        used = bits(mask)

        def column(at: Value, carried: list[Value], count: int = len(used)) -> list[Value]:
            *totals, first = carried
            return [*columns.add(at, first, totals), add(first, threads.pieces * count)]

        start, stop = (load_index(a["segments"], tile, index(s), index(end)) for end in range(2))
        own = weight if threads.pieces == 1 else arith.addi(weight, mul(piece, len(used)))
        first = start if threads.pieces == 1 else arith.addi(start, mul(piece, columns.entries))
        carried = [*(total for i in used for total in sums[i]), own]
        *new, after = columns.walk(first, stop, threads.pieces * columns.entries, carried, column)
        if threads.pieces > 1:
            entries = arith.subi(stop, start)
            turns = entries if columns.entries == 1 else arith.divui(entries, index(columns.entries))
            after = arith.addi(weight, mul(turns, len(used)))
        weight = after
        for n, i in enumerate(used):
            sums[i] = new[n * threads.vectors : (n + 1) * threads.vectors]

    def finish(first: Value, totals: list[list[Value]]) -> None:
        """Writes the tile's rows from `first` on."""
        for i, of_row in enumerate(totals):
            row = load_index(a["rows"], tile, add(first, i))
            bias = lanes.spread_load(a["bias"], [row]) if "bias" in a else lanes.constant(0.0)
            for total, at in zip(of_row, runs, strict=True):
                value, token = columns.in_f32(total, at), mul(at, TOKENS_OF_A_THREAD)
                if "scales" in a:
                    value = vector.fma(value, lanes.spread_load(a["scales"], [row]), bias)
                elif "bias" in a:
                    value = arith.addf(value, bias)
                value = _activate(activation_of(op), value, lanes)
                if "residual" in a:
                    value = arith.addf(value, lanes.load(a["residual"], [batch, panel, row, token]))
                lanes.store(value, a["result"], [batch, panel, row, token])

    if threads.pieces == 1:
        finish(index(0), sums)
    else:
        local = arith.addi(mul(arith.remui(tile, index(threads.tiles)), threads.runs), run)
        finish(*_sums_of_all_pieces(sums, shared, piece, local, threads, columns.plus))


def _sums_of_all_pieces(
    sums: list[list[Value]],
    shared: Value,
    piece: Value,
    local: Value,
    threads: LinearThreads,
    plus: Callable[[Value, Value], Value],
) -> tuple[Value, list[list[Value]]]:
    """The first of the rows that a thread finishes, and their sums. `sums` are its own, of all rows of its tile;
    `shared` is memory for those of the workgroup; `local` tells apart its threads of one piece."""
    rows = len(sums) // threads.pieces
    for i, of_row in enumerate(sums):
        for j, total in enumerate(of_row):
            memref.store(total, shared, [piece, index(i), index(j), local])
    barrier()
    first, totals = mul(piece, rows), []
    for i in range(rows):
        at = add(first, i)
        of_row = [[memref.load(shared, [index(p), at, index(j), local]) for p in range(threads.pieces)]
                  for j in range(threads.vectors)]  # fmt: skip
        totals.append([functools.reduce(plus, parts) for parts in of_row])
    return first, totals
