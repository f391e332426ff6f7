"""The kernel of `sparsity.quantized_linear`: many tokens at once, four columns and bytes in every product.

As in `linear.py`, tokens are the lanes and the sums of a tile of rows stay in registers. An entry of quads costs one
index, `token_vectors` loads of x and, per row that uses it, one broadcast of four weights; four entries of rows cost
four indices, four loads that together hold as many bytes, and eight shuffles, which on Zen 4 run beside the products.
Sums begin with what takes the zero point off again. Scales, bias, activation and residual follow in f32. A layer whose
weights lie in runs of eight multiplies matrices of two rows and two tokens (`byte_matrices.py`).
"""

from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import QUAD, group_of, run_of
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import activation_of

from . import byte_matrices
from .build import Lanes, Value, add, index, largest_divisor, load_index, loop, mul
from .byte_products import ByteProducts, integers
from .linear import Tile, bits, read_tile
from .plan import Plan, schedule_of
from .quantize_tokens import flat_bytes
from .rounding import whole


def plan_quantized_linear(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`.

    None where panels are no whole vectors, where a block of tokens is no whole run of rows, and where the instruction
    takes x with another sign. Runs of eight need an instruction for matrices, and one list for an even number of rows.
    """
    batch, panels, features, panel = op.result.type.shape
    if panel % lanes.width or bool(op.zero_point.value) != ByteProducts(lanes).unsigned:
        return None
    vectors = largest_divisor(panel // lanes.width, schedule_of(op).get("token_vectors", 4))
    block = vectors * lanes.width
    if group_of(op) == 1 and (block < QUAD or (lanes_of(op) > LANES[0] and block % (4 * lanes_of(op)))):
        return None
    if run_of(op) > QUAD:
        full = len(op.row_masks) == 1 and op.row_masks[0].value == (1 << op.row_tile.value) - 1
        if lanes.dot != "smmla" or lanes.width != 4 or not full or op.row_tile.value % 2:
            return None
    activation, form = activation_of(op), "rows_of_bytes" if group_of(op) == 1 else "bytes"
    form += "_in_matrices" if run_of(op) > QUAD else ""
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    name = f"linear_{features}x{group_of(op) * op.x.type.shape[2]}{suffix}_{form}"
    return Plan(build_quantized_linear, name, [op.work.type.shape[0] - 1, panels, batch], vectors)


def build_quantized_linear(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Adds the kernel's body. `place` is (workgroup, panel, batch); a workgroup computes the row tiles
    `work[w] .. work[w + 1]` for one panel. `vectors` of `lanes.width` tokens are held per row.
    """
    workgroup, panel, batch = place
    a = arguments
    products = ByteProducts(lanes)
    x, group, run, tokens = flat_bytes(a["x"]), group_of(op), run_of(op), op.layout.tile()[0]
    # Bytes of a row that are loaded at once.
    at_once = min(4 * lanes_of(op), vectors * lanes.width)
    masks, unroll = row_masks_of(op), schedule_of(op).get("unroll", 1)

    def block(tile: Tile, token: Value) -> None:
        """The tile's rows for `vectors` vectors of tokens."""
        at = [add(token, j * lanes.width) for j in range(vectors)]
        sums = matrices(tile, at) if run > QUAD else sums_of(tile, at)
        scales = [lanes.load(a["token_scales"], [batch, panel, t]) for t in at]
        for row, row_sums in zip(tile.rows, sums, strict=True):
            scale = lanes.spread_load(a["scales"], [row])
            bias = lanes.spread_load(a["bias"], [row]) if "bias" in a else lanes.constant(0.0)
            for j, total in enumerate(row_sums):
                value = arith.mulf(arith.sitofp(lanes.type, total), scales[j])
                value = lanes.activate(activation_of(op), vector.fma(value, scale, bias))
                if "residual" in a:
                    value = arith.addf(value, lanes.load(a["residual"], [batch, panel, row, at[j]]))
                lanes.store(value, a["result"], [batch, panel, row, at[j]])

    def sums_of(tile: Tile, at: list[Value]) -> list[list[Value]]:
        sums = [[whole(lanes, 0)] * vectors for _ in tile.rows]
        if op.zero_point.value:
            sums = [[vector.broadcast(products.sums, _load(a["starts"], row))] * vectors for row in tile.rows]
        place = tile.weight
        for (start, stop), mask in zip(tile.bounds, masks, strict=True):
            place = segment(start, stop, place, bits(mask), sums, at)
        return sums

    def quads(entry: Value, at: list[Value]) -> list[list[Value]]:
        """Four features of the tokens `at`, from the column entry `entry` on."""
        places = [load_index(a["columns"], add(entry, i)) for i in range(QUAD // group)]
        if group > 1:
            return [products.parts(part) for part in neighbours(places[0], at, QUAD)]
        made: list[list[Value]] = []
        for first in range(0, vectors * lanes.width, at_once):
            made += products.quads([load(place, add(at[0], first), at_once) for place in places])
        return made

    def neighbours(place: Value, at: list[Value], group: int) -> list[Value]:
        """Vectors of groups of features of the tokens `at`. By lane they are one load, which LLVM cuts into pairs."""
        size, first = QUAD * lanes.width, mul(at[0], group)
        starts = range(0, vectors * group * lanes.width, size)
        if not lanes.by_lane:
            return [load(place, add(first, start), size) for start in starts]
        loaded = load(place, first, len(starts) * size)
        return [vector.extract_strided_slice(integers(8, size), loaded, [start], [size], [1]) for start in starts]

    def load(place: Value, within: Value, count: int) -> Value:
        return products.load_bytes(x, [batch, panel, arith.addi(place, within)], count)

    def segment(
        start: Value, stop: Value, place: Value, used: list[int], sums: list[list[Value]], at: list[Value]
    ) -> Value:
        """Column entries that exactly the rows `used` need; updates their sums, returns the next weight's place."""

        def some(count: int, first: Value, carried: list[Value]) -> list[Value]:
            *totals, place = carried
            weights = products.weights(a["values"], [place], count * len(used))
            for c in range(count):
                loaded = quads(add(first, c * QUAD // group), at)
                new = []
                for n in range(len(used)):
                    weight = next(weights)
                    new += [products.multiply(totals[n * vectors + j], loaded[j], weight) for j in range(vectors)]
                totals = new
            return [*totals, add(place, count * len(used) * QUAD)]

        *new, place = runs(start, stop, [*(total for i in used for total in sums[i]), place], some)
        for n, i in enumerate(used):
            sums[i] = new[n * vectors : (n + 1) * vectors]
        return place

    def runs(
        start: Value, stop: Value, carried: list[Value], some: Callable[[int, Value, list[Value]], list[Value]]
    ) -> list[Value]:
        """The loop over the runs of a segment: `some` of them at a time, then one by one."""
        middle, step = start, run // group
        if unroll > 1:
            several = unroll * step
            times = arith.divui(arith.subi(stop, start), index(several))
            middle = arith.addi(start, arith.muli(times, index(several)))
            carried = loop(start, middle, several, carried, lambda c, values: some(unroll, c, values))
        return loop(middle, stop, step, carried, lambda c, values: some(1, c, values))

    def matrices(tile: Tile, at: list[Value]) -> list[list[Value]]:
        """The sums of the rows of a tile that all need the same columns, two rows and two tokens in a vector."""
        pairs, each = len(tile.rows) // 2, 2 * vectors

        def some(count: int, first: Value, carried: list[Value]) -> list[Value]:
            *totals, place = carried
            for c in range(count):
                parts = eights(add(first, c * run // group), at)
                here = [add(place, (c * pairs + n) * 2 * run) for n in range(pairs)]
                weights = [products.load_bytes(a["values"], [p], 2 * run) for p in here]
                totals = [
                    byte_matrices.multiply(totals[n * each + j], weights[n], parts[j])
                    for n in range(pairs)
                    for j in range(each)
                ]
            return [*totals, add(place, count * pairs * 2 * run)]

        zeros = [whole(lanes, 0)] * (pairs * each)
        ((start, stop),) = tile.bounds
        *totals, _ = runs(start, stop, [*zeros, tile.weight], some)
        return [row for n in range(pairs) for row in byte_matrices.rows(totals[n * each : (n + 1) * each])]

    def eights(entry: Value, at: list[Value]) -> list[Value]:
        """Eight features of the tokens `at`, from the column entry `entry` on, two tokens in a vector."""
        if group == run:
            return neighbours(load_index(a["columns"], entry), at, run)
        halves = [quads(add(entry, n * QUAD // group), at) for n in range(2)]
        return [both for (low,), (high,) in zip(*halves, strict=True) for both in byte_matrices.joined(low, high)]

    def tile_body(tile: Value, _: list[Value]) -> list[Value]:
        data = read_tile(a, tile, len(masks), op.row_tile.value)

        def token_body(token: Value, _: list[Value]) -> list[Value]:
            block(data, token)
            return []

        return loop(0, tokens, vectors * lanes.width, [], token_body)

    start, stop = load_index(a["work"], workgroup), load_index(a["work"], add(workgroup, 1))
    loop(start, stop, 1, [], tile_body)


def _load(source: Value, row: Value) -> Value:
    return memref.load(source, [row])
