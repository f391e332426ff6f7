"""The kernels of `sparsity.packed_linear` and `packed_conv`: many tokens at once, one column list for a tile's rows.

Feature-major panels make a kept weight column a contiguous run of tokens of `x`, planes one of pixels (`places.py`).
Per tile of rows and per block of tokens the sums stay in registers; a column costs one index, `token_vectors` loads of
`x` and, per row that uses it, one broadcast of a weight folded into the multiply-add (on Arm one lane of loaded
weights).

The schedule decides the order of the loops around it: `tile_group` tiles take turns on every block of tokens (1: a
tile does all its tokens first, and its weights stay in cache; more: the tokens' rows of `x` do), and `unroll` columns
make one iteration of the innermost loop. An op with `sparsity.half_sums` multiplies in f16 (`half_sums.py`).
"""

import dataclasses

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from secateur.dialects.sparsity.attributes import SCHEDULE
from secateur.dialects.sparsity.ops.packed_linear import half_sums_of
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import activation_of, features_of, layout_of

from .build import Lanes, Value, add, index, largest_divisor, load_index, loop, mul
from .half_sums import HalfLanes
from .places import PanelPlaces, Places
from .plan import Plan, fits_panels, schedule_of, stored_as
from .staged_weights import STAGED, StagedWeights
from .weights_by_lane import spread_run


def bits(mask: int) -> list[int]:
    """Positions of the ones of `mask`, lowest first."""
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of rows: the bounds of its segments, the place of its first weight, its output features."""

    bounds: list[list[Value]]
    weight: Value
    rows: list[Value]


def read_tile(arguments: dict[str, Value], tile: Value, masks: int, row_tile: int) -> Tile:
    """What the packed arrays among a kernel's `arguments` hold of the tile with the number `tile`."""
    a = arguments
    bounds = [[load_index(a["segments"], tile, index(s), index(end)) for end in range(2)] for s in range(masks)]
    rows = [load_index(a["rows"], tile, index(i)) for i in range(row_tile)]
    return Tile(bounds, load_index(a["offsets"], tile), rows)


def token_vectors_of(op: ir.OpView, wanted: int, width: int) -> int:
    """How many vectors of `width` tokens a row of `op` has in registers: up to `wanted`, a part of the panel.

    Vectors of f16 hold twice the tokens; they are counted as two. Where no part of the panel fits, 0.
    """
    tokens, _ = layout_of(op).tile()
    if half_sums_of(op):
        return 0 if tokens % (2 * width) else 2 * largest_divisor(tokens // (2 * width), wanted)
    return 0 if tokens % width else largest_divisor(tokens // width, wanted)


def plan_linear(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of a `packed_linear` in panels, for vectors of `lanes`; None where there is none."""
    if not fits_panels(op, lanes.width):
        return None
    vectors = token_vectors_of(op, schedule_of(op).get("token_vectors", 4), lanes.width)
    if vectors == 0:
        return None
    batch, panels, features, _ = layout_of(op).sizes(op.result.type.shape)
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    name = f"linear_{features}x{features_of(op, op.x)}{suffix}{stored_as(op)}"
    return Plan(build_linear, name, [op.work.type.shape[0] - 1, panels, batch], vectors)


def build_linear(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Adds the kernel's body. `place` is (workgroup, panel, batch); a workgroup computes the row tiles
    `work[w] .. work[w + 1]` for one panel. `vectors` of `lanes.width` tokens are held per row (`token_vectors_of`).
    """
    workgroup, panel, batch = place
    places = PanelPlaces(arguments, batch, panel, layout_of(op).tile()[0])
    start, stop = load_index(arguments["work"], workgroup), load_index(arguments["work"], add(workgroup, 1))
    build_tiles(op, arguments, start, stop, lanes, vectors, places)


def build_tiles(
    op: ir.OpView, arguments: dict[str, Value], start: Value, stop: Value, lanes: Lanes, vectors: int, places: Places
) -> None:
    """Computes the row tiles `start .. stop` of a packed op for all tokens of `places`."""
    a = arguments
    masks, row_tile = row_masks_of(op), op.row_tile.value
    activation = activation_of(op)
    stored = str(op.values.type.element_type) != "f32"
    run = half_sums_of(op)
    halves = HalfLanes(lanes) if run else None
    staged = StagedWeights(lanes) if stored and not halves and not lanes.by_lane else None
    schedule = op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}
    unroll, tile_group = schedule.get("unroll", 1), schedule.get("tile_group", 1)

    def block(tile: Tile, token: Value) -> None:
        """The tile's rows for `vectors` vectors of tokens."""
        at = [add(token, j * lanes.width) for j in range(vectors)]
        sums = [[lanes.constant(0.0)] * vectors for _ in range(row_tile)]
        if "bias" in a and "scales" not in a:
            sums = [[lanes.spread_load(a["bias"], [row])] * vectors for row in tile.rows]
        weight = tile.weight
        for (start, stop), mask in zip(tile.bounds, masks, strict=True):
            weight = segment(start, stop, weight, bits(mask), sums, at)
        for row, row_sums in zip(tile.rows, sums, strict=True):
            for j, total in enumerate(scaled(row, row_sums)):
                places.finish(lanes, total, activation, row, at[j])

    def scaled(row: Value, sums: list[Value]) -> list[Value]:
        """Sums in units of the row's scale, with that scale and the bias."""
        if "scales" not in a:
            return sums
        scale = lanes.spread_load(a["scales"], [row])
        bias = lanes.spread_load(a["bias"], [row]) if "bias" in a else lanes.constant(0.0)
        return [vector.fma(total, scale, bias) for total in sums]

    def segment(
        start: Value, stop: Value, weight: Value, used: list[int], sums: list[list[Value]], at: list[Value]
    ) -> Value:
        """Columns that exactly the rows `used` need; updates their sums, returns the next weight's place."""
        carried = [*(total for i in used for total in sums[i]), weight]

        def staged_columns(first: Value, carried: list[Value]) -> list[Value]:
            *totals, place = carried
            last = arith.minui(add(first, STAGED // len(used)), stop)
            count = mul(arith.subi(last, first), len(used))
            staged.fill(a["values"], place, count)
            *totals, _ = columns(lanes, staged.buffer, first, last, [*totals, index(0)], used, at)
            return [*totals, arith.addi(place, count)]

        def half_columns(first: Value, carried: list[Value]) -> list[Value]:
            *totals, place = carried
            last = arith.minui(add(first, run), stop)
            parts = [halves.constant(0.0)] * (len(totals) // 2)
            *parts, place = columns(halves, a["values"], first, last, [*parts, place], used, at[::2])
            added = [half for part in parts for half in halves.widened(part)]
            return [*(arith.addf(total, part) for total, part in zip(totals, added, strict=True)), place]

        if halves is not None:
            *new, place = loop(start, stop, run, carried, half_columns)
        elif staged is not None:
            *new, place = loop(start, stop, STAGED // len(used), carried, staged_columns)
        else:
            *new, place = columns(lanes, a["values"], start, stop, carried, used, at)
        for n, i in enumerate(used):
            sums[i] = new[n * vectors : (n + 1) * vectors]
        return place

    def columns(
        lanes: Lanes,
        values: Value,
        start: Value,
        stop: Value,
        carried: list[Value],
        used: list[int],
        at: list[Value],
    ) -> list[Value]:
        """The loop over columns. Carried are the sums of the rows `used` and the place of a weight in `values`."""

        def columns_body(count: int, first: Value, carried: list[Value]) -> list[Value]:
            *totals, place = carried
            weights = spread_run(values, [place], count * len(used), lanes)
            for c in range(count):
                source = load_index(a["columns"], add(first, c))
                x = places.x(lanes, source, at)
                new = []
                for n in range(len(used)):
                    w = next(weights)
                    new += [vector.fma(w, x[j], totals[n * len(x) + j]) for j in range(len(x))]
                totals = new
            return [*totals, add(place, count * len(used))]

        middle = start
        if unroll > 1:
            whole = arith.divui(arith.subi(stop, start), index(unroll))
            middle = arith.addi(start, arith.muli(whole, index(unroll)))
            carried = loop(start, middle, unroll, carried, lambda c, values: columns_body(unroll, c, values))
        return loop(middle, stop, 1, carried, lambda c, values: columns_body(1, c, values))

    def tile_body(tile: Value, _: list[Value]) -> list[Value]:
        data = read_tile(a, tile, len(masks), row_tile)

        def token_body(token: Value, _: list[Value]) -> list[Value]:
            block(data, token)
            return []

        return loop(*places.tokens, vectors * lanes.width, [], token_body)

    def group_body(first: Value, _: list[Value]) -> list[Value]:
        last = arith.minui(add(first, tile_group), stop)

        def token_body(token: Value, _: list[Value]) -> list[Value]:
            def turn(tile: Value, _: list[Value]) -> list[Value]:
                block(read_tile(a, tile, len(masks), row_tile), token)
                return []

            return loop(first, last, 1, [], turn)

        return loop(*places.tokens, vectors * lanes.width, [], token_body)

    if tile_group == 1:
        loop(start, stop, 1, [], tile_body)
    else:
        loop(start, stop, tile_group, [], group_body)
