"""Kernels of `sparsity.token_scales` and `sparsity.quantize_tokens` in feature-major panels: tokens are the lanes."""

import math as _math

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.byte_rows import token_order
from secateur.dialects.sparsity.ops.quantize_tokens import QuantizeTokensOp, lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.ops.token_scales import LARGEST

from .build import Lanes, Value, add, index, largest_divisor, loop
from .byte_products import integers
from .plan import Plan
from .rounding import ROUND, inverse_of, largest_bits, side_by_side, splat, whole


def plan_quantize_tokens(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of either op, for vectors of `lanes`; None where panels are no whole vectors."""
    batch, panels, features, panel = op.x.type.shape
    quantizes = isinstance(op, QuantizeTokensOp)
    if panel % lanes.width:
        return None
    vectors = largest_divisor(panel // lanes.width, 4)
    if not quantizes:
        return Plan(build_token_scales, f"token_scales_{features}", [1, panels, batch], vectors)
    if op.layout.tile()[1] > 1:
        return Plan(build_groups, f"quantize_{features}_by_{op.layout.tile()[1]}", [1, panels, batch], vectors)
    if vectors * lanes.width % (4 * lanes_of(op)):
        return None
    return Plan(build_rows, f"quantize_{features}_rows", [1, panels, batch], vectors)


def build_token_scales(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """One sweep over the features for the largest absolute value. `place` is (0, panel, batch)."""
    _, panel, batch = place
    features, tokens = op.x.type.shape[2:]

    def block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in range(vectors)]

        def sweep(feature: Value, largest: list[Value]) -> list[Value]:
            x = [lanes.load(arguments["x"], [batch, panel, feature, t]) for t in at]
            return [largest_bits(a, b) for a, b in zip(largest, x, strict=True)]

        for t, largest in zip(at, loop(0, features, 1, [whole(lanes, 0)] * vectors, sweep), strict=True):
            scale = arith.divf(vector.bitcast(lanes.type, largest), lanes.constant(LARGEST))
            lanes.store(scale, arguments["result"], [batch, panel, t])
        return []

    loop(0, tokens, vectors * lanes.width, [], block)


def build_groups(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Four or eight features of a vector of tokens become a vector of bytes. `place` is (0, panel, batch)."""
    _, panel, batch = place
    features, tokens = op.x.type.shape[2:]
    result, words, group = flat_bytes(arguments["result"]), integers(32, lanes.width), op.layout.tile()[1]

    def block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in range(vectors)]
        inverses = [inverse_of(lanes, lanes.load(arguments["scales"], [batch, panel, t])) for t in at]

        def word(first: Value, t: Value, inverse: Value) -> Value:
            """Four bytes of each token in `t ..`."""
            x = [lanes.load(arguments["x"], [batch, panel, add(first, i), t]) for i in range(QUAD)]
            word = side_by_side(lanes, [_rounded(lanes, part, inverse) for part in x])
            # Adding 128 to a byte flips its highest bit.
            return arith.xori(word, splat(words, -0x7F7F7F80)) if op.zero_point.value else word

        def sweep(first: Value, _: list[Value]) -> list[Value]:
            for t, inverse in zip(at, inverses, strict=True):
                quads = [word(add(first, i), t, inverse) for i in range(0, group, QUAD)]
                if len(quads) > 1:
                    turns = [i // 2 + i % 2 * lanes.width for i in range(2 * lanes.width)]
                    quads = [vector.shuffle(*quads, turns[i : i + lanes.width]) for i in (0, lanes.width)]
                place = arith.addi(arith.muli(first, index(tokens)), arith.muli(t, index(group)))
                for i, quad in enumerate(quads):
                    stored = vector.bitcast(integers(8, QUAD * lanes.width), quad)
                    vector.store(stored, result, [batch, panel, add(place, i * QUAD * lanes.width)])
            return []

        return loop(0, features, group, [], sweep)

    loop(0, tokens, vectors * lanes.width, [], block)


def build_rows(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """A feature of a run of tokens becomes one vector of bytes (`byte_rows`). `place` is (0, panel, batch)."""
    _, panel, batch = place
    features, tokens = op.x.type.shape[2:]
    block_size = vectors * lanes.width
    order = token_order(block_size, lanes_of(op)).tolist()

    def block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in range(vectors)]
        inverses = [inverse_of(lanes, lanes.load(arguments["scales"], [batch, panel, t])) for t in at]

        def sweep(feature: Value, _: list[Value]) -> list[Value]:
            parts = []
            for t, inverse in zip(at, inverses, strict=True):
                x = lanes.load(arguments["x"], [batch, panel, feature, t])
                parts.append(arith.trunci(integers(8, lanes.width), _rounded(lanes, x, inverse)))
            while len(parts) > 1:
                places = order if len(parts) == 2 else list(range(2 * parts[0].type.shape[0]))
                parts = [vector.shuffle(a, b, places) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            (row,) = parts
            if op.zero_point.value:
                row = arith.xori(row, splat(row.type, -128))
            vector.store(row, arguments["result"], [batch, panel, feature, token])
            return []

        return loop(0, features, 1, [], sweep)

    loop(0, tokens, block_size, [], block)


def _rounded(lanes: Lanes, x: Value, inverse: Value) -> Value:
    """Words whose lowest byte is `x * inverse`, rounded: the token's scale leaves nothing to clip."""
    units = arith.mulf(x, inverse)
    return vector.bitcast(integers(32, lanes.width), arith.addf(units, lanes.constant(ROUND)))


def flat_bytes(panels: Value) -> Value:
    """A memref of panels of bytes [batch, panels, ..] as [batch, panels, bytes]."""
    kind = ir.MemRefType(panels.type)
    sizes = [*kind.shape[:2], _math.prod(kind.shape[2:])]
    strides = [sizes[1] * sizes[2], sizes[2], 1]
    # Upstream turns an index into a collapsed shape back into many, by division; a cast's it takes as it is.
    return memref.reinterpret_cast(ir.MemRefType.get(sizes, kind.element_type), panels, [], [], [], [0], sizes, strides)
