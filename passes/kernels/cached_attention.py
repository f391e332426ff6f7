"""Kernel of `sparsity.cached_attention`: the rows of a cache in one sweep, whose length is known at run time.

    for each block of `width` rows that a query sees some of:
        scores   = one product of the query with each row, side by side in a vector; hidden rows at the lowest number
        largest' = max(largest, scores);  powers = exp(scores - largest');  shrink = exp(largest - largest')
        sums     = sums * shrink + powers;  mixed = mixed * shrink + powers[0] * values[0] + powers[1] * values[1] + ...
    result = mixed / sum of sums

(The running maximum is that of Milakov and Gimelshein, arXiv:1805.02867.) A workgroup has a head of a sequence. The
time is that of the rows that count, whatever the capacity of the cache.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from secateur.dialects.sparsity.ops.cached_attention import window_of

from .build import F32_LOWEST, Lanes, Value, add, index, load_index, loop, mul
from .functions import exp, maximum
from .plan import Plan


def plan_cached_attention(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """None where there is a bias, or where heads or the capacity are no whole vectors."""
    heads, depth, out_depth = _sizes(op)
    if op.bias is not None or any(n % lanes.width for n in (depth, out_depth, op.keys.type.shape[1])):
        return None
    return Plan(build_cached_attention, f"cached_attention_{heads}x{depth}", [heads, 1, op.query.type.shape[0]], 1)


def _sizes(op: ir.OpView) -> tuple[int, int, int]:
    """Heads, and the features of one in keys and in values."""
    heads = op.heads.value
    return heads, op.query.type.shape[2] // heads, op.result.type.shape[2] // heads


def build_cached_attention(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """`place` is (head, 0, sequence)."""
    head, _, batch = place
    a, width, tokens = arguments, lanes.width, op.query.type.shape[1]
    heads, depth, out_depth = _sizes(op)
    group = arith.divui(head, index(heads // op.kv_heads.value))
    length, zero = load_index(a["length"], batch), index(0)
    window = window_of(op)

    def features(start: Value, count: int) -> list[Value]:
        """Where the vectors of a head's features begin."""
        return [add(mul(start, count), i * width) for i in range(count // width)]

    key_places, value_places = features(group, depth), features(group, out_depth)

    def token_body(token: Value, _: list[Value]) -> list[Value]:
        own = add(arith.subi(length, index(tokens)), token)
        first = zero if window is None else arith.maxsi(arith.subi(own, index(window - 1)), zero)
        stop = add(own, 1) if op.causal.value else length
        scale = lanes.constant(op.scale.value)
        query = [arith.mulf(lanes.load(a["query"], [batch, token, at]), scale) for at in features(head, depth)]

        def block(row: Value, carried: list[Value]) -> list[Value]:
            largest, sums, *mixed = carried
            seen = vector.create_mask(_mask_type(lanes), [arith.subi(stop, row)])
            if window is not None:
                before = vector.create_mask(_mask_type(lanes), [arith.subi(first, row)])
                seen = arith.andi(seen, arith.xori(before, _all(lanes)))
            rows, scores = [add(row, i) for i in range(width)], lanes.constant(0.0)
            for i, at in enumerate(rows):
                product = lanes.constant(0.0)
                for part, place in zip(query, key_places, strict=True):
                    product = vector.fma(part, lanes.load_weights(a["keys"], [batch, at, place]), product)
                scores = vector.insert(_reduce(product, "add"), scores, [], [i])
            scores = arith.select(seen, scores, lanes.constant(F32_LOWEST))
            larger = maximum(largest, lanes.spread(_reduce(scores, "maximumf")))
            powers = arith.select(seen, exp(arith.subf(scores, larger)), lanes.constant(0.0))
            shrink = exp(arith.subf(largest, larger))
            mixed = [arith.mulf(m, shrink) for m in mixed]
            for i, at in enumerate(rows):
                power = lanes.spread(vector.extract(powers, [], [i]))
                # A row that is not seen may hold what is no number.
                holds = vector.extract(seen, [], [i])
                for n, place in enumerate(value_places):
                    value = lanes.load_weights(a["values"], [batch, at, place])
                    value = arith.select(holds, value, lanes.constant(0.0))
                    mixed[n] = vector.fma(power, value, mixed[n])
            return [larger, vector.fma(sums, shrink, powers), *mixed]

        start = zero if window is None else mul(arith.divui(first, index(width)), width)
        zeros = [lanes.constant(0.0)] * (1 + len(value_places))
        _, sums, *mixed = loop(start, stop, width, [lanes.constant(F32_LOWEST), *zeros], block)
        total = lanes.spread(_reduce(sums, "add"))
        empty = arith.cmpf(arith.CmpFPredicate.OEQ, total, lanes.constant(0.0))
        total = arith.select(empty, lanes.constant(1.0), total)
        for value, place in zip(mixed, features(head, out_depth), strict=True):
            lanes.store(arith.divf(value, total), a["result"], [batch, token, place])
        return []

    loop(0, tokens, 1, [], token_body)


def _reduce(value: Value, kind: str) -> Value:
    return vector.reduction(ir.F32Type.get(), ir.Attribute.parse(f"#vector.kind<{kind}>"), value)


def _mask_type(lanes: Lanes) -> ir.VectorType:
    return ir.VectorType.get([lanes.width], ir.IntegerType.get_signless(1))


def _all(lanes: Lanes) -> Value:
    return arith.constant(_mask_type(lanes), ir.DenseElementsAttr.get_splat(_mask_type(lanes), ir.BoolAttr.get(True)))
