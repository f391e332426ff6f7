"""The kernel of `sparsity.quantize_heads`: a workgroup rounds the keys and values of one head in one panel."""

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from secateur.dialects.sparsity.ops.quantized_linear import QUAD

from .build import Lanes, Value, add, index, loop, mul
from .plan import Plan
from .rounding import bytes_of, inverse_of, rounded, scale_of, side_by_side, whole


def plan_quantize_heads(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`; None where panels are no whole vectors."""
    batch, panels, heads, _ = op.result.type.shape
    if op.layout.tile()[0] % lanes.width:
        return None
    name = f"quantize_heads_{heads}x{op.depth.value}"
    return Plan(build_quantize_heads, name, [heads, panels, batch], 1)


def build_quantize_heads(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Adds the kernel's body. `place` is (head, panel, batch)."""
    head, panel, batch = place
    tokens, depth, value_depth = op.layout.tile()[0], op.depth.value, op.value_depth.value
    starts = [offset.value for offset in op.offsets]
    key_row, value_row = add(mul(head, depth), starts[0]), add(mul(head, value_depth), starts[1])
    outer, target = [batch, panel], arguments["result"]

    def store(bytes_: Value, at: Value) -> None:
        vector.store(bytes_, target, [batch, panel, head, at])

    def scaled(source: Value, row: Value, features: int, token: Value, place: int) -> Value:
        """Stores the scales of a vector of tokens at byte `place` of the head; returns their inverses."""
        scale = scale_of(lanes, source, outer, row, features, token)
        store(vector.bitcast(bytes_of(lanes), scale), add(mul(token, 4), place))
        return inverse_of(lanes, scale)

    def some_tokens(token: Value, _: list[Value]) -> list[Value]:
        inverse = scaled(arguments["key"], key_row, depth, token, (depth + value_depth) * tokens)

        def keys(quad: Value, _: list[Value]) -> list[Value]:
            first = arith.addi(key_row, mul(quad, QUAD))
            parts = [lanes.load(arguments["key"], [*outer, add(first, i), token]) for i in range(QUAD)]
            word = side_by_side(lanes, [rounded(lanes, part, inverse) for part in parts])
            if op.zero_point.value:
                # Adding 128 to a byte flips its highest bit.
                word = arith.xori(word, whole(lanes, -0x7F7F7F80))
            at = mul(arith.addi(mul(quad, tokens), token), QUAD)
            store(vector.bitcast(bytes_of(lanes), word), at)
            return []

        loop(0, depth // QUAD, 1, [], keys)
        inverse = scaled(arguments["value"], value_row, value_depth, token, (depth + value_depth + 4) * tokens)

        def values(feature: Value, _: list[Value]) -> list[Value]:
            x = lanes.load(arguments["value"], [*outer, arith.addi(value_row, feature), token])
            narrow = arith.trunci(bytes_of(lanes, 1), rounded(lanes, x, inverse))
            store(narrow, arith.addi(mul(add(feature, depth), tokens), token))
            return []

        loop(0, value_depth, 1, [], values)
        return []

    loop(index(0), index(tokens), lanes.width, [], some_tokens)
