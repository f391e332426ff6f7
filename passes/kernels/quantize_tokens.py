"""Kernels of `sparsity.token_scales` and `sparsity.quantize_tokens` in feature-major panels: tokens are the lanes."""

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, vector

from secateur.dialects.sparsity.ops.quantize_tokens import QuantizeTokensOp
from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.ops.token_scales import LARGEST

from .build import Lanes, Value, add, largest_divisor, loop
from .functions import maximum, minimum
from .plan import Plan

# The smallest normal number of f32: below it, the inverse of a scale may be infinite.
_SMALLEST = 2.0**-126
# Adding 1.5 * 2^23 rounds to an integer, to even, and leaves it in the low bits.
_ROUND = 1.5 * 2**23


def plan_quantize_tokens(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of either op, for vectors of `lanes`; None where panels are no whole vectors."""
    batch, panels, features, panel = op.x.type.shape
    quantizes = isinstance(op, QuantizeTokensOp)
    if panel % lanes.width or (quantizes and op.layout.tile()[1] != QUAD):
        return None
    build, name = (build_quantize_tokens, "quantize") if quantizes else (build_token_scales, "token_scales")
    return Plan(build, f"{name}_{features}", [1, panels, batch], largest_divisor(panel // lanes.width, 4))


def build_token_scales(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """One sweep over the features for the largest absolute value. `place` is (0, panel, batch)."""
    _, panel, batch = place
    features, tokens = op.x.type.shape[2:]

    def block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in range(vectors)]

        def sweep(feature: Value, largest: list[Value]) -> list[Value]:
            x = [math.absf(lanes.load(arguments["x"], [batch, panel, feature, t])) for t in at]
            # Without their sign, floats are ordered as integers are, and a NaN is above infinity.
            return [arith.maxsi(a, vector.bitcast(a.type, b)) for a, b in zip(largest, x, strict=True)]

        zeros = [vector.bitcast(integers(lanes), lanes.constant(0.0))] * vectors
        for t, largest in zip(at, loop(0, features, 1, zeros, sweep), strict=True):
            scale = arith.divf(vector.bitcast(lanes.type, largest), lanes.constant(LARGEST))
            lanes.store(scale, arguments["result"], [batch, panel, t])
        return []

    loop(0, tokens, vectors * lanes.width, [], block)


def build_quantize_tokens(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Four features of a vector of tokens become one vector of bytes. `place` is (0, panel, batch)."""
    _, panel, batch = place
    features, tokens = op.x.type.shape[2:]
    result = flat_bytes(arguments["result"])
    words = integers(lanes)
    stored = ir.VectorType.get([QUAD * lanes.width], ir.IntegerType.get_signless(8))

    def constant(value: int) -> Value:
        element = ir.IntegerAttr.get(words.element_type, value)
        return arith.constant(words, ir.DenseElementsAttr.get_splat(words, element))

    def byte(x: Value, inverse: Value, position: int) -> Value:
        """A feature's byte, at its place in a word."""
        units = minimum(maximum(arith.mulf(x, inverse), lanes.constant(-LARGEST)), lanes.constant(LARGEST))
        low = arith.andi(vector.bitcast(words, arith.addf(units, lanes.constant(_ROUND))), constant(255))
        return low if position == 0 else arith.shli(low, constant(8 * position))

    def block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in range(vectors)]
        inverses = []
        for t in at:
            scale = lanes.load(arguments["scales"], [batch, panel, t])
            normal = arith.cmpf(arith.CmpFPredicate.OGE, scale, lanes.constant(_SMALLEST))
            inverse = arith.divf(lanes.constant(1.0), scale)
            inverses.append(arith.select(normal, inverse, lanes.constant(0.0)))

        def sweep(quad: Value, _: list[Value]) -> list[Value]:
            first = arith.muli(quad, arith.constant(ir.IndexType.get(), QUAD))
            for t, inverse in zip(at, inverses, strict=True):
                word = None
                for i in range(QUAD):
                    x = lanes.load(arguments["x"], [batch, panel, add(first, i), t])
                    part = byte(x, inverse, i)
                    word = part if word is None else arith.ori(word, part)
                if op.zero_point.value:
                    # Adding 128 to a byte flips its highest bit.
                    word = arith.xori(word, constant(-0x7F7F7F80))
                four = arith.muli(t, arith.constant(ir.IndexType.get(), QUAD))
                vector.store(vector.bitcast(stored, word), result, [batch, panel, quad, four])
            return []

        return loop(0, features // QUAD, 1, [], sweep)

    loop(0, tokens, vectors * lanes.width, [], block)


def integers(lanes: Lanes) -> ir.VectorType:
    """The type of vectors of 32-bit integers, one for each of `lanes`."""
    return ir.VectorType.get([lanes.width], ir.IntegerType.get_signless(32))


def flat_bytes(panels: Value) -> Value:
    """A memref of panels [.., tokens, 4] as [.., 4 * tokens]: the bytes of several tokens are one vector."""
    *outer, tokens, quad = ir.MemRefType(panels.type).shape
    kind = ir.MemRefType.get([*outer, tokens * quad], ir.MemRefType(panels.type).element_type)
    groups = [[i] for i in range(len(outer))] + [[len(outer), len(outer) + 1]]
    return memref.collapse_shape(kind, panels, groups)
