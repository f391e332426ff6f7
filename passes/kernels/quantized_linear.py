"""The kernel of `sparsity.quantized_linear`: many tokens at once, four columns and bytes in every product.

As in `linear.py`, tokens are the lanes and the sums of a tile of rows stay in registers. An entry of quads costs one
index, `token_vectors` loads of x and, per row that uses it, one broadcast of four weights; four entries of rows cost
four indices, four loads that together hold as many bytes, and eight shuffles, which on Zen 4 run beside the products.
Sums begin with what takes the zero point off again. Scales, bias, activation and residual follow in f32.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import QUAD, group_of
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import activation_of

from .build import Lanes, Value, add, index, largest_divisor, load_index, loop, mul
from .byte_products import ByteProducts
from .linear import Tile, bits, read_tile
from .plan import Plan, schedule_of
from .quantize_tokens import flat_bytes


def plan_quantized_linear(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`.

    None where panels are no whole vectors, where a block of tokens is no whole run of rows, and where the instruction
    takes x with another sign.
    """
    batch, panels, features, panel = op.result.type.shape
    if panel % lanes.width or bool(op.zero_point.value) != ByteProducts(lanes).unsigned:
        return None
    vectors = largest_divisor(panel // lanes.width, schedule_of(op).get("token_vectors", 4))
    block = vectors * lanes.width
    if group_of(op) == 1 and (block < QUAD or (lanes_of(op) > LANES[0] and block % (4 * lanes_of(op)))):
        return None
    activation, form = activation_of(op), "bytes" if group_of(op) == QUAD else "rows_of_bytes"
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
    # Column entries of four features: one of quads, four of rows, of which `run` bytes are loaded at once.
    step, run = QUAD // group_of(op), min(4 * lanes_of(op), vectors * lanes.width)
    x, group, tokens = flat_bytes(a["x"]), group_of(op), op.layout.tile()[0]
    masks, unroll = row_masks_of(op), schedule_of(op).get("unroll", 1)

    def block(tile: Tile, token: Value) -> None:
        """The tile's rows for `vectors` vectors of tokens."""
        at = [add(token, j * lanes.width) for j in range(vectors)]
        sums = []
        for row in tile.rows:
            start = vector.broadcast(products.sums, _load(a["starts"], row))
            sums.append([start] * vectors)
        place = tile.weight
        for (start, stop), mask in zip(tile.bounds, masks, strict=True):
            place = segment(start, stop, place, bits(mask), sums, at)
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

    def quads(entry: Value, at: list[Value]) -> list[list[Value]]:
        """Four features of the tokens `at`, from the column entry `entry` on."""
        places = [load_index(a["columns"], add(entry, i)) for i in range(step)]
        if step == 1:
            return [products.parts(load(places[0], mul(t, group), QUAD * lanes.width)) for t in at]
        made: list[list[Value]] = []
        for first in range(0, vectors * lanes.width, run):
            made += products.quads([load(place, add(at[0], first), run) for place in places])
        return made

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
                loaded = quads(add(first, c * step), at)
                new = []
                for n in range(len(used)):
                    weight = next(weights)
                    new += [products.multiply(totals[n * vectors + j], loaded[j], weight) for j in range(vectors)]
                totals = new
            return [*totals, add(place, count * len(used) * QUAD)]

        carried, middle = [*(total for i in used for total in sums[i]), place], start
        if unroll > 1:
            several = unroll * step
            whole = arith.divui(arith.subi(stop, start), index(several))
            middle = arith.addi(start, arith.muli(whole, index(several)))
            carried = loop(start, middle, several, carried, lambda c, values: some(unroll, c, values))
        *new, place = loop(middle, stop, step, carried, lambda c, values: some(1, c, values))
        for n, i in enumerate(used):
            sums[i] = new[n * vectors : (n + 1) * vectors]
        return place

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
