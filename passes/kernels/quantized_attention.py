"""The kernel of `sparsity.quantized_attention`: both products of attention on bytes, four at a time.

As in `attention.py`, a workgroup computes one head for one panel of queries, and queries are the lanes. It rounds its
queries first. A word of four features of a query meets a word of the same features of a key, which all lanes share; a
word of the weights of four keys meets a word of four values. Sums of both fit 32 bits, exactly.

Scores are in base 2 and have the logarithm of the value's scale in them, so that the largest weight of each query is
the largest byte (the op says why, and how weights are rounded). Words of weights take the place of the scores that they
are made of.
"""

import dataclasses
import math as _math
from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.ops.quantized_attention import SMALLEST_SHARE, largest_weight
from secateur.dialects.sparsity.ops.quantized_linear import QUAD

from .attention_blocks import Attention, Head, Key
from .attention_sizes import Sizes, byte_sizes_of
from .build import Lanes, Value, add, index, loop, mul
from .byte_products import ByteProducts, integers
from .functions import maximum, power_of_two
from .plan import Plan
from .rounding import ROUND, bytes_of, inverse_of, largest_bits, rounded, scale_of, side_by_side, whole

_LOG2_E = 1.0 / _math.log(2.0)
# Rows of what is known of the keys of a block.
_FACTORS, _ADDENDS, _INVERSES = range(3)


def plan_quantized_attention(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`.

    None where scratch memory cannot hold the least that it needs, and where the instruction takes keys with another
    sign.
    """
    sizes = byte_sizes_of(op, lanes)
    if sizes is None or bool(op.zero_point.value) != ByteProducts(lanes).unsigned:
        return None
    heads, (batch, panels) = op.heads.value, op.query.type.shape[:2]
    name = f"attention_{heads}x{sizes.depth}_bytes"
    return Plan(build_quantized_attention, name, [heads, panels, batch], sizes.vectors)


def build_quantized_attention(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Adds the kernel's body. `place` is (head, query panel, batch)."""
    sizes = byte_sizes_of(op, lanes)
    assert sizes is not None
    products = ByteProducts(lanes)
    head = _head(op, arguments, place, sizes, lanes)

    def some_queries(first: Value, _: list[Value]) -> list[Value]:
        queries = [add(first, j * lanes.width) for j in range(vectors)]
        scales, starts = [], []
        for j, query in enumerate(queries):
            scale, start = _round_query(op, arguments["query"], head, products, query, j * lanes.width)
            scales.append(scale)
            starts.append(start)
        _Attention(op, arguments, lanes, sizes, head, queries, products, scales, starts).build()
        return []

    loop(0, sizes.key_panel, vectors * lanes.width, [], some_queries)


@dataclasses.dataclass(frozen=True)
class _ByteHead(Head):
    """`largest`: the largest scale of the head's values. `rounded`: bytes of the queries. `keys`: of a block."""

    kv_head: Value
    largest: Value
    rounded: Value
    keys: Value


def _head(op: ir.OpView, arguments: dict[str, Value], place: list[Value], sizes: Sizes, lanes: Lanes) -> _ByteHead:
    head, panel, batch = place
    sharing = op.heads.value // op.kv_heads.value
    kv_head = head if sharing == 1 else arith.divui(head, index(sharing))
    keys, queries = sizes.block_panels * sizes.key_panel, sizes.vectors * lanes.width
    f32, i8 = ir.F32Type.get(), ir.IntegerType.get_signless(8)
    memory = [([keys, queries], f32), ([sizes.depth // QUAD, QUAD * queries], i8), ([3, keys], f32)]
    scores, words, known = (memref.alloca(ir.MemRefType.get(*kind), [], []) for kind in memory)
    query_row, out_row = add(mul(head, sizes.depth), op.offset.value), mul(head, sizes.out_depth)

    def panel_body(number: Value, largest: list[Value]) -> list[Value]:
        def some_keys(key: Value, largest: list[Value]) -> list[Value]:
            at = [batch, number, kv_head]
            return [largest_bits(largest[0], _scales(arguments, at, key, sizes, lanes, of_values=True))]

        return loop(0, sizes.key_panel, lanes.width, largest, some_keys)

    (bits,) = loop(0, arguments["keys_values"].type.shape[1], 1, [whole(lanes, 0)], panel_body)
    most = arith.bitcast(f32, vector.reduction(bits.type.element_type, vector.CombiningKind.MAXSI, bits))
    largest = maximum(lanes.constant(2.0**-126), lanes.spread(most))
    return _ByteHead(head, panel, batch, query_row, out_row, scores, kv_head, largest, words, known)


def _scales(
    arguments: dict[str, Value], at: Sequence[Value], key: Value, sizes: Sizes, lanes: Lanes, of_values: bool
) -> Value:
    """The scales of a vector of keys, or of their values, of the panel and head `at`."""
    start = sizes.key_panel * (sizes.depth + sizes.out_depth + (4 if of_values else 0))
    found = vector.load(bytes_of(lanes), arguments["keys_values"], [*at, add(mul(key, 4), start)])
    return vector.bitcast(lanes.type, found)


def _round_query(
    op: ir.OpView, source: Value, head: _ByteHead, products: ByteProducts, query: Value, place: int
) -> tuple[Value, Value]:
    """Stores the bytes of a vector of queries; returns their scales, and where sums with unsigned keys start."""
    lanes, outer, depth = products.lanes, [head.batch, head.panel], op.depth.value
    scale = scale_of(lanes, source, outer, head.query_row, depth, query)
    inverse = inverse_of(lanes, scale)
    point = vector.bitcast(bytes_of(lanes), whole(lanes, -0x7F7F7F80))

    def quad_body(quad: Value, sums: list[Value]) -> list[Value]:
        first = arith.addi(head.query_row, mul(quad, QUAD))
        parts = [lanes.load(source, [*outer, add(first, i), query]) for i in range(QUAD)]
        bytes_ = vector.bitcast(bytes_of(lanes), side_by_side(lanes, [rounded(lanes, x, inverse) for x in parts]))
        vector.store(bytes_, head.rounded, [quad, index(QUAD * place)])
        return [products.multiply(sums[0], [point], [bytes_])] if op.zero_point.value else sums

    (sums,) = loop(0, depth // QUAD, 1, [whole(lanes, 0)], quad_body)
    return scale, arith.subi(whole(lanes, 0), sums)


@dataclasses.dataclass(frozen=True)
class _Attention(Attention):
    """The work of one head on bytes. `scales` and `starts` are those of the queries."""

    head: _ByteHead
    products: ByteProducts
    scales: list[Value]
    starts: list[Value]

    def _power(self, x: Value) -> Value:
        return power_of_two(x)

    def _begin_block(self, first_panel: Value) -> None:
        """Stores, of each key of the block: the factor of sums, what is added to scores, the inverse of its share."""
        lanes, head, a = self.lanes, self.head, self.arguments

        def panel_body(number: Value, _: list[Value]) -> list[Value]:
            panel = arith.addi(first_panel, number)

            def some_keys(key: Value, _: list[Value]) -> list[Value]:
                scales, values = (
                    _scales(a, [head.batch, panel, head.kv_head], key, self.sizes, lanes, of_values)
                    for of_values in (False, True)
                )
                share = maximum(lanes.constant(SMALLEST_SHARE), arith.divf(values, head.largest))
                addend = self._logarithm(share)
                if "key_bias" in a:
                    position = arith.addi(mul(panel, self.sizes.key_panel), key)
                    bias = lanes.load(a["key_bias"], [head.batch, position])
                    addend = vector.fma(bias, lanes.constant(_LOG2_E), addend)
                place = arith.addi(mul(number, self.sizes.key_panel), key)
                factor = arith.mulf(scales, lanes.constant(self.op.scale.value * _LOG2_E))
                inverse = arith.divf(lanes.constant(1.0), share)
                for row, value in ((_FACTORS, factor), (_ADDENDS, addend), (_INVERSES, inverse)):
                    lanes.store(value, head.keys, [index(row), place])
                return []

            return loop(0, self.sizes.key_panel, lanes.width, [], some_keys)

        loop(0, self.sizes.block_panels, 1, [], panel_body)

    def _logarithm(self, x: Value) -> Value:
        """log2(x) for 2^-20 <= x <= 1: the bits as a number are off by 0.05, a step of three terms corrects that."""
        lanes = self.lanes
        bits = arith.sitofp(lanes.type, vector.bitcast(integers(32, lanes.width), x))
        near = vector.fma(bits, lanes.constant(2.0**-23), lanes.constant(0.043 - 127.0))
        off = vector.fma(x, power_of_two(arith.negf(near)), lanes.constant(-1.0))
        series = vector.fma(off, lanes.constant(_LOG2_E / 3.0), lanes.constant(-_LOG2_E / 2.0))
        return vector.fma(off, vector.fma(off, series, lanes.constant(_LOG2_E)), near)

    def _scores(self, key: Key, maxima: list[Value]) -> list[Value]:
        lanes, sizes, head = self.lanes, self.sizes, self.head
        starts = self.starts * sizes.key_tile
        sums = loop(0, sizes.depth // QUAD, 1, starts, lambda quad, sums: self._dot(key, quad, sums))
        position = arith.addi(mul(key.panel, sizes.key_panel), key.in_panel)
        for i in range(sizes.key_tile):
            place = add(key.in_block, i)
            factor, addend = (lanes.spread_load(head.keys, [index(row), place]) for row in (_FACTORS, _ADDENDS))
            for j, query in enumerate(self.queries):
                total = arith.sitofp(lanes.type, sums[i * sizes.vectors + j])
                score = vector.fma(total, arith.mulf(self.scales[j], factor), addend)
                score = self._biased(score, add(position, i), query)
                lanes.store(score, head.scores, [place, index(j * lanes.width)])
                maxima[j] = maximum(maxima[j], score)
        return maxima

    def _dot(self, key: Key, quad: Value, sums: list[Value]) -> list[Value]:
        """Adds the products of four features of a tile of keys with the queries."""
        head, sizes, products = self.head, self.sizes, self.products
        queries = [products.load(head.rounded, [quad], index(j * self.lanes.width)) for j in range(sizes.vectors)]
        first = mul(arith.addi(mul(quad, sizes.key_panel), key.in_panel), QUAD)
        at = [head.batch, key.panel, head.kv_head, first]
        new: list[Value] = []
        for word in products.weights(self.arguments["keys_values"], at, sizes.key_tile):
            for query in queries:
                # Unsigned bytes are the first factor; on Arm, what all lanes share is the second.
                factors = (word, query) if products.unsigned else (query, word)
                new.append(products.multiply(sums[len(new)], *factors))
        return new

    def _biased(self, score: Value, key: Value, query: Value) -> Value:
        """Full bias and causal mask of a vector of scores."""
        op, head, lanes = self.op, self.head, self.lanes
        if op.bias is None and not op.causal.value:
            return score
        token = arith.addi(mul(head.panel, self.sizes.key_panel), query)
        if op.bias is not None:
            shape = op.bias.type.shape
            batch = head.batch if shape[0] > 1 else index(0)
            bias_head = head.head if shape[1] > 1 else index(0)
            bias = lanes.load(self.arguments["bias"], [batch, bias_head, key, token])
            score = vector.fma(bias, lanes.constant(_LOG2_E), score)
        return self._without_later_keys(score, key, token) if op.causal.value else score

    def _exponentials(self, maxima: list[Value], totals: list[Value]) -> list[Value]:
        lanes, sizes, head = self.lanes, self.sizes, self.head
        vectors, largest = sizes.vectors, float(largest_weight(self.op))
        start = vector.bitcast(integers(32, lanes.width), lanes.constant(ROUND))

        def four_keys(number: Value, carried: list[Value]) -> list[Value]:
            """Carried are totals, sums of the block's weights, and those sums as rounded by `ROUND`."""
            new = list(carried)
            first = mul(number, QUAD)
            inverses = [lanes.spread_load(head.keys, [index(_INVERSES), add(first, i)]) for i in range(QUAD)]
            words = []
            for j in range(vectors):
                parts = []
                for i in range(QUAD):
                    score = lanes.load(head.scores, [add(first, i), index(j * lanes.width)])
                    e = power_of_two(arith.subf(score, maxima[j]), largest)
                    total, sum_, before = new[j::vectors]
                    sum_ = arith.addf(sum_, e)
                    after = vector.bitcast(integers(32, lanes.width), arith.addf(sum_, lanes.constant(ROUND)))
                    parts.append(arith.subi(after, before))
                    new[j::vectors] = [vector.fma(e, inverses[i], total), sum_, after]
                words.append(side_by_side(lanes, parts, clean=True))
            for j, word in enumerate(words):
                lanes.store(vector.bitcast(lanes.type, word), head.scores, [number, index(j * lanes.width)])
            return new

        carried = [*totals, *[lanes.constant(0.0)] * vectors, *[start] * vectors]
        return loop(0, sizes.block_panels * sizes.key_panel // QUAD, 1, carried, four_keys)[:vectors]

    def _shares(self, totals: list[Value]) -> list[Value]:
        return [arith.mulf(share, self.head.largest) for share in super()._shares(totals)]

    def _context(self, first_panel: Value, factors: list[Value] | None, shares: list[Value] | None) -> None:
        lanes, sizes, result = self.lanes, self.sizes, self.arguments["result"]

        def features_body(feature: Value, _: list[Value]) -> list[Value]:
            places = [self._out(add(feature, i), query) for i in range(sizes.out_tile) for query in self.queries]
            zeros = [whole(lanes, 0)] * len(places)
            sums = self._each_key(
                first_panel, zeros, lambda key, sums: self._weighted(key, feature, sums), sizes.key_step
            )
            for n, (at, total) in enumerate(zip(places, sums, strict=True)):
                value = arith.sitofp(lanes.type, total)
                if factors is not None:
                    value = vector.fma(lanes.load(result, at), factors[n % sizes.vectors], value)
                if shares is not None:
                    value = arith.mulf(value, shares[n % sizes.vectors])
                lanes.store(value, result, at)
            return []

        loop(0, sizes.out_depth, sizes.out_tile, [], features_body)

    def _weighted(self, key: Key, feature: Value, sums: list[Value]) -> list[Value]:
        """Adds the values of `key_step` keys, of the features from `feature` on, times their weights."""
        head, lanes, sizes, products = self.head, self.lanes, self.sizes, self.products
        rows = []
        for i in range(sizes.out_tile):
            first = arith.addi(mul(add(feature, sizes.depth + i), sizes.key_panel), key.in_panel)
            at = [head.batch, key.panel, head.kv_head, first]
            rows.append(products.weights(self.arguments["keys_values"], at, sizes.key_step // QUAD))
        for step in range(sizes.key_step // QUAD):
            place = add(arith.divui(key.in_block, index(QUAD)), step)
            words = [lanes.load(head.scores, [place, index(j * lanes.width)]) for j in range(sizes.vectors)]
            weights = [products.parts(vector.bitcast(bytes_of(lanes), word)) for word in words]
            values = [next(row) for row in rows]
            sums = [
                products.multiply(sums[i * sizes.vectors + j], weights[j], values[i])
                for i in range(sizes.out_tile)
                for j in range(sizes.vectors)
            ]
        return sums
