"""The kernel of `sparsity.attention` in feature-major panels: scores, softmax and context of one head.

A workgroup computes one head for one panel of queries. Queries are the lanes, so the scores of a block
of keys are outer products of key scalars and query vectors, the softmax is element-wise over vectors, and
the context is again a sum of value scalars times probability vectors: no transposes, no shuffles. Blocks of keys, and
the softmax over them, are those of `attention_blocks.py`.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import layout_of

from .attention_blocks import Attention, Head, Key
from .attention_sizes import Sizes, query_vectors, sizes_of
from .build import Lanes, Value, add, index, loop, mul
from .functions import exp, maximum
from .plan import Plan, fits_panels
from .weights_by_lane import spread_run


def plan_attention(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`; None where scratch memory cannot hold the least that it needs."""
    vectors = query_vectors(op, lanes.width) if fits_panels(op, lanes.width) else 0
    if vectors == 0:
        return None
    batch, panels, features, _ = layout_of(op).sizes(op.result.type.shape)
    heads = op.heads.value
    return Plan(build_attention, f"attention_{heads}x{features // heads}", [heads, panels, batch], vectors)


def build_attention(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Adds the kernel's body. `place` is (head, query panel, batch)."""
    sizes = sizes_of(op, lanes, vectors)
    head = _head(op, place, sizes, lanes)

    def some_queries(first: Value, _: list[Value]) -> list[Value]:
        queries = [add(first, j * lanes.width) for j in range(vectors)]
        _Attention(op, arguments, lanes, sizes, head, queries).build()
        return []

    loop(0, layout_of(op).tile()[0], vectors * lanes.width, [], some_queries)


@dataclasses.dataclass(frozen=True)
class _F32Head(Head):
    key_row: Value
    value_row: Value


def _head(op: ir.OpView, place: list[Value], sizes: Sizes, lanes: Lanes) -> _F32Head:
    head, panel, batch = place
    starts, depth, out_depth = head_slices(op)
    sharing = op.heads.value // op.kv_heads.value
    kv_head = head if sharing == 1 else arith.divui(head, index(sharing))
    query_row, key_row = add(mul(head, depth), starts[0]), add(mul(kv_head, depth), starts[1])
    value_row, out_row = add(mul(kv_head, out_depth), starts[2]), mul(head, out_depth)
    shape = [sizes.block_panels * sizes.key_panel, sizes.vectors * lanes.width]
    scores = memref.alloca(ir.MemRefType.get(shape, ir.F32Type.get()), [], [])
    return _F32Head(head, panel, batch, query_row, out_row, scores, key_row, value_row)


def _products(spread: Iterable[Value], vectors: Sequence[Value], sums: Sequence[Value]) -> list[Value]:
    """`sums` plus the outer product of `spread` and `vectors`, row by row."""
    new: list[Value] = []
    for row in spread:
        new += [vector.fma(row, v, sums[len(new) + j]) for j, v in enumerate(vectors)]
    return new


@dataclasses.dataclass(frozen=True)
class _Attention(Attention):
    """The work of one head on f32."""

    head: _F32Head

    def _power(self, x: Value) -> Value:
        return exp(x)

    def _begin_block(self, first_panel: Value) -> None:
        """Keys are read as they are."""

    def _scores(self, key: Key, maxima: list[Value]) -> list[Value]:
        """Stores the scores of a tile of keys; returns the maxima with them."""
        lanes, sizes = self.lanes, self.sizes
        zeros = [lanes.constant(0.0)] * (sizes.key_tile * sizes.vectors)
        sums = loop(0, sizes.depth, sizes.depth_step, zeros, lambda first, sums: self._dot(key, first, sums))
        position = arith.addi(mul(key.panel, sizes.key_panel), key.in_panel)
        for i in range(sizes.key_tile):
            for j, query in enumerate(self.queries):
                score = self._biased(sums[i * sizes.vectors + j], add(position, i), query)
                lanes.store(score, self.head.scores, [add(key.in_block, i), index(j * lanes.width)])
                maxima[j] = maximum(maxima[j], score)
        return maxima

    def _dot(self, key: Key, first: Value, sums: list[Value]) -> list[Value]:
        """Adds the products of the features from `first` on, of a tile of keys with the queries."""
        head, sizes = self.head, self.sizes
        for d in (add(first, step) for step in range(sizes.depth_step)):
            query_at = [head.batch, head.panel, arith.addi(head.query_row, d)]
            queries = self.lanes.load_run(self.arguments["query"], query_at, self.queries)
            key_at = [head.batch, key.panel, arith.addi(head.key_row, d), key.in_panel]
            keys = spread_run(self.arguments["key"], key_at, sizes.key_tile, self.lanes)
            sums = _products(keys, queries, sums)
        return sums

    def _biased(self, score: Value, key: Value, query: Value) -> Value:
        """Scale, key bias, full bias and causal mask of a vector of scores."""
        op, a, lanes, head = self.op, self.arguments, self.lanes, self.head
        score = arith.mulf(score, lanes.constant(op.scale.value))
        if "key_bias" in a:
            score = arith.addf(score, lanes.spread_load(a["key_bias"], [head.batch, key]))
        if "bias" not in a and not op.causal.value:
            return score
        token = arith.addi(mul(head.panel, layout_of(op).tile()[0]), query)
        if "bias" in a:
            shape = op.bias.type.shape
            batch = head.batch if shape[0] > 1 else index(0)
            bias_head = head.head if shape[1] > 1 else index(0)
            score = arith.addf(score, lanes.load(a["bias"], [batch, bias_head, key, token]))
        return self._without_later_keys(score, key, token) if op.causal.value else score

    def _exponentials(self, maxima: list[Value], totals: list[Value]) -> list[Value]:
        """Replaces the scores of the block by exp(score - maximum); returns the totals with them."""
        lanes = self.lanes

        def key_body(key: Value, totals: list[Value]) -> list[Value]:
            new = []
            for j, (top, total) in enumerate(zip(maxima, totals, strict=True)):
                at = [key, index(j * lanes.width)]
                e = exp(arith.subf(lanes.load(self.head.scores, at), top))
                lanes.store(e, self.head.scores, at)
                new.append(arith.addf(total, e))
            return new

        return loop(0, self.sizes.block_panels * self.sizes.key_panel, 1, totals, key_body)

    def _context(self, first_panel: Value, factors: list[Value] | None, shares: list[Value] | None) -> None:
        """Adds the weighted values of the block to the result times `factors` (None: to zero), then times `shares`."""
        lanes, sizes = self.lanes, self.sizes

        def features_body(feature: Value, _: list[Value]) -> list[Value]:
            places = [self._out(add(feature, i), query) for i in range(sizes.out_tile) for query in self.queries]
            if factors is None:
                sums = [lanes.constant(0.0)] * len(places)
            else:
                sums = list(self._times((lanes.load(self.arguments["result"], at) for at in places), factors))
            sums = self._each_key(
                first_panel, sums, lambda key, sums: self._weighted(key, feature, sums), sizes.key_step
            )
            for at, value in zip(places, sums if shares is None else self._times(sums, shares), strict=True):
                lanes.store(value, self.arguments["result"], at)
            return []

        loop(0, sizes.out_depth, sizes.out_tile, [], features_body)

    def _weighted(self, key: Key, feature: Value, sums: list[Value]) -> list[Value]:
        """Adds the values of `key_step` keys, of the features from `feature` on, times their exponentials."""
        head, lanes, sizes = self.head, self.lanes, self.sizes
        rows = [arith.addi(head.value_row, add(feature, i)) for i in range(sizes.out_tile)]
        places = [[head.batch, key.panel, row, key.in_panel] for row in rows]
        values = [spread_run(self.arguments["value"], at, sizes.key_step, lanes) for at in places]
        for step in range(sizes.key_step):
            starts = [index(j * lanes.width) for j in range(sizes.vectors)]
            weights = lanes.load_run(head.scores, [add(key.in_block, step)], starts)
            sums = _products((next(row) for row in values), weights, sums)
        return sums
