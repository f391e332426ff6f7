"""What kernels of attention share: the walk over keys, block by block, and the softmax carried from block to block.

Scores stay in scratch memory. Where those of all keys do not fit, keys are taken block by block: each new maximum
rescales the sums so far (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), so that any number
of keys runs in the same memory.
"""

import abc
import dataclasses
import math as _math
from collections.abc import Callable, Iterable, Iterator

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from .attention_sizes import Sizes
from .build import F32_LOWEST, Lanes, Value, index, loop, mul


@dataclasses.dataclass(frozen=True)
class Head:
    """The place of a workgroup, the head's first features in each tensor, and memory for the scores of a block."""

    head: Value
    panel: Value
    batch: Value
    query_row: Value
    out_row: Value
    scores: Value


@dataclasses.dataclass(frozen=True)
class Key:
    """Where a key is: its panel, its place in that panel, and its place in the block."""

    panel: Value
    in_panel: Value
    in_block: Value


@dataclasses.dataclass(frozen=True)
class Attention(abc.ABC):
    """Builds the work of one head for the vectors of queries that begin at the tokens `queries` of the panel.

    What is carried from block to block are maxima of what `_scores` stores and totals of what `_exponentials` makes of
    it: one vector each for every vector of queries.
    """

    op: ir.OpView
    arguments: dict[str, Value]
    lanes: Lanes
    sizes: Sizes
    head: Head
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
        self._begin_block(first_panel)
        maxima = self._each_key(first_panel, old, self._scores, self.sizes.key_tile)
        factors = None
        if not first:
            factors = [self._power(arith.subf(before, now)) for before, now in zip(old, maxima, strict=True)]
            totals = [arith.mulf(total, factor) for total, factor in zip(totals, factors, strict=True)]
        totals = self._exponentials(maxima, totals)
        shares = self._shares(totals) if self.sizes.blocks == 1 else None
        self._context(first_panel, factors, shares)
        return [*maxima, *totals]

    @abc.abstractmethod
    def _power(self, x: Value) -> Value:
        """What a difference of two scores stands for, as a factor."""

    @abc.abstractmethod
    def _begin_block(self, first_panel: Value) -> None:
        """Prepares the block of keys that begins at `first_panel`."""

    @abc.abstractmethod
    def _scores(self, key: Key, maxima: list[Value]) -> list[Value]:
        """Stores the scores of the tile of keys at `key`; returns the maxima with them."""

    @abc.abstractmethod
    def _exponentials(self, maxima: list[Value], totals: list[Value]) -> list[Value]:
        """Replaces the scores of the block by weights; returns the totals with them."""

    @abc.abstractmethod
    def _context(self, first_panel: Value, factors: list[Value] | None, shares: list[Value] | None) -> None:
        """Adds the weighted values of the block to the result times `factors` (None: to zero), then times `shares`."""

    def _each_key(
        self,
        first_panel: Value,
        carried: list[Value],
        body: Callable[[Key, list[Value]], list[Value]],
        step: int,
    ) -> list[Value]:
        """Runs `body(key, carried)` for every `step`-th key of the block that begins at `first_panel`."""
        sizes = self.sizes

        def panel_body(number: Value, outer: list[Value]) -> list[Value]:
            base = mul(number, sizes.key_panel)
            panel = arith.addi(first_panel, number)

            def key_body(key: Value, inner: list[Value]) -> list[Value]:
                return body(Key(panel, key, arith.addi(base, key)), inner)

            return loop(0, sizes.key_panel, step, outer, key_body)

        return loop(0, sizes.block_panels, 1, carried, panel_body)

    def _without_later_keys(self, score: Value, key: Value, token: Value) -> Value:
        """Minus infinity for the queries from `token` on that stand before `key`."""
        indices = ir.VectorType.get([self.lanes.width], ir.IndexType.get())
        tokens = arith.addi(vector.broadcast(indices, token), vector.step(indices))
        later = arith.cmpi(arith.CmpIPredicate.ugt, vector.broadcast(indices, key), tokens)
        return arith.select(later, self.lanes.constant(-_math.inf), score)

    def _shares(self, totals: list[Value]) -> list[Value]:
        """What turns sums of exponentials into means: one over the total, zero where all keys are masked."""
        zero, one = self.lanes.constant(0.0), self.lanes.constant(1.0)
        # "Equal to zero" and not "above zero": a NaN in the scores has to reach the result.
        empty = [arith.cmpf(arith.CmpFPredicate.OEQ, total, zero) for total in totals]
        return [arith.select(e, zero, arith.divf(one, total)) for e, total in zip(empty, totals, strict=True)]

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
