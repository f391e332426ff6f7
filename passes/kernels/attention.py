"""The kernel of `sparsity.attention` in feature-major panels: scores, softmax and context of one head.

A workgroup computes one head for one panel of queries. Queries are the lanes, so the scores of a block
of keys are outer products of key scalars and query vectors, the softmax is element-wise over vectors, and
the context is again a sum of value scalars times probability vectors: no transposes, no shuffles.

Scores stay in scratch memory. Where those of all keys do not fit, keys are taken block by block: each new maximum
rescales the sums so far (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), so that any number
of keys runs in the same memory.
"""

import dataclasses
import math as _math
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import layout_of

from .attention_sizes import Sizes, query_vectors, sizes_of
from .build import F32_LOWEST, Lanes, Value, add, index, loop, mul
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
class _Head:
    """The place of a workgroup, the head's first features in each tensor, and memory for the scores of a block."""

    head: Value
    panel: Value
    batch: Value
    query_row: Value
    key_row: Value
    value_row: Value
    out_row: Value
    scores: Value


def _head(op: ir.OpView, place: list[Value], sizes: Sizes, lanes: Lanes) -> _Head:
    head, panel, batch = place
    starts, depth, out_depth = head_slices(op)
    sharing = op.heads.value // op.kv_heads.value
    kv_head = head if sharing == 1 else arith.divui(head, index(sharing))
    query_row, key_row = add(mul(head, depth), starts[0]), add(mul(kv_head, depth), starts[1])
    value_row, out_row = add(mul(kv_head, out_depth), starts[2]), mul(head, out_depth)
    shape = [sizes.block_panels * sizes.key_panel, sizes.vectors * lanes.width]
    scores = memref.alloca(ir.MemRefType.get(shape, ir.F32Type.get()), [], [])
    return _Head(head, panel, batch, query_row, key_row, value_row, out_row, scores)


@dataclasses.dataclass(frozen=True)
class _Key:
    """Where a key is: its panel, its place in that panel, and its place in the block."""

    panel: Value
    in_panel: Value
    in_block: Value


def _products(spread: Iterable[Value], vectors: Sequence[Value], sums: Sequence[Value]) -> list[Value]:
    """`sums` plus the outer product of `spread` and `vectors`, row by row."""
    new: list[Value] = []
    for row in spread:
        new += [vector.fma(row, v, sums[len(new) + j]) for j, v in enumerate(vectors)]
    return new


@dataclasses.dataclass(frozen=True)
class _Attention:
    """Builds the work of one head for the vectors of queries that begin at the tokens `queries` of the panel."""

    op: ir.OpView
    arguments: dict[str, Value]
    lanes: Lanes
    sizes: Sizes
    head: _Head
    queries: list[Value]

    def build(self) -> None:
        """All blocks of keys. Carried from one to the next are the maxima and the totals so far, a vector each."""
        vectors, blocks = self.sizes.vectors, self.sizes.blocks
        # The lowest finite number keeps a fully masked query at exp(-inf) = 0 instead of exp(-inf + inf).
        start = [self.lanes.constant(F32_LOWEST)] * vectors + [self.lanes.constant(0.0)] * vectors
        carried = self._block(index(0), start, first=True)
        if blocks > 1:
            carried = loop(1, blocks, 1, carried, lambda number, inner: self._block(number, inner, first=False))
            self._normalise(self._shares(carried[vectors:]))

    def _block(self, number: Value, carried: list[Value], first: bool) -> list[Value]:
        """Scores, exponentials and context of one block; the only block's context is normalised at once."""
        vectors = self.sizes.vectors
        old, totals = carried[:vectors], carried[vectors:]
        first_panel = mul(number, self.sizes.block_panels)
        maxima = self._each_key(first_panel, old, self._scores, self.sizes.key_tile)
        factors = None
        if not first:
            factors = [exp(arith.subf(before, now)) for before, now in zip(old, maxima, strict=True)]
            totals = [arith.mulf(total, factor) for total, factor in zip(totals, factors, strict=True)]
        totals = self._exponentials(maxima, totals)
        shares = self._shares(totals) if self.sizes.blocks == 1 else None
        self._context(first_panel, factors, shares)
        return [*maxima, *totals]

    def _each_key(
        self,
        first_panel: Value,
        carried: list[Value],
        body: Callable[[_Key, list[Value]], list[Value]],
        step: int,
    ) -> list[Value]:
        """Runs `body(key, carried)` for every `step`-th key of the block that begins at `first_panel`."""
        sizes = self.sizes

        def panel_body(number: Value, outer: list[Value]) -> list[Value]:
            base = mul(number, sizes.key_panel)
            panel = arith.addi(first_panel, number)

            def key_body(key: Value, inner: list[Value]) -> list[Value]:
                return body(_Key(panel, key, arith.addi(base, key)), inner)

            return loop(0, sizes.key_panel, step, outer, key_body)

        return loop(0, sizes.block_panels, 1, carried, panel_body)

    def _scores(self, key: _Key, maxima: list[Value]) -> list[Value]:
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

    def _dot(self, key: _Key, first: Value, sums: list[Value]) -> list[Value]:
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

    def _without_later_keys(self, score: Value, key: Value, token: Value) -> Value:
        """Minus infinity for the queries from `token` on that stand before `key`."""
        indices = ir.VectorType.get([self.lanes.width], ir.IndexType.get())
        tokens = arith.addi(vector.broadcast(indices, token), vector.step(indices))
        later = arith.cmpi(arith.CmpIPredicate.ugt, vector.broadcast(indices, key), tokens)
        return arith.select(later, self.lanes.constant(-_math.inf), score)

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

    def _shares(self, totals: list[Value]) -> list[Value]:
        """What turns sums of exponentials into means: one over the total, zero where all keys are masked."""
        zero, one = self.lanes.constant(0.0), self.lanes.constant(1.0)
        # "Equal to zero" and not "above zero": a NaN in the scores has to reach the result.
        empty = [arith.cmpf(arith.CmpFPredicate.OEQ, total, zero) for total in totals]
        return [arith.select(e, zero, arith.divf(one, total)) for e, total in zip(empty, totals, strict=True)]

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

    def _weighted(self, key: _Key, feature: Value, sums: list[Value]) -> list[Value]:
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

    def _normalise(self, shares: list[Value]) -> None:
        """Multiplies the whole result of the head with `shares`."""

        def feature_body(feature: Value, _: list[Value]) -> list[Value]:
            for query, share in zip(self.queries, shares, strict=True):
                at = self._out(feature, query)
                loaded = self.lanes.load(self.arguments["result"], at)
                self.lanes.store(arith.mulf(loaded, share), self.arguments["result"], at)
            return []

        loop(0, self.sizes.out_depth, 1, [], feature_body)

    def _out(self, feature: Value, query: Value) -> list[Value]:
        """The place of a feature of the head in the result."""
        return [self.head.batch, self.head.panel, arith.addi(self.head.out_row, feature), query]

    def _times(self, values: Iterable[Value], factors: list[Value]) -> Iterator[Value]:
        """Rows of `vectors` values, each times its vector's factor; ops are added when a value is asked for."""
        return (arith.mulf(value, factors[n % self.sizes.vectors]) for n, value in enumerate(values))
