"""How a thread of a GPU adds the products of columns to the sums of its rows: in f32, or in f16 a run at a time."""

from collections.abc import Callable, Iterator

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from ..target import TOKENS_OF_A_THREAD
from .build import F32_LOWEST, Value, add, load_index, loop, mul
from .gpu_lanes import GpuLanes, HalfLanes
from .gpu_words import elements, signed_byte, signed_bytes, words

Column = Callable[[Value, list[Value]], list[Value]]
"""(place of a column entry, carried values) -> new ones."""


class FloatColumns:
    """How a thread adds products of floats to the sums of its rows.

    `panel`: its batch and panel; `runs`: the vectors of tokens in them that it has; `full`: every column has weights
    for all rows of a tile, which are whole vectors.
    """

    entries = 1
    """Column entries that are multiplied at once; each segment is a multiple of them."""

    def __init__(self, a: dict[str, Value], panel: list[Value], runs: list[Value], full: bool) -> None:
        self._a, self._panel, self._runs, self._full = a, panel, runs, full
        self._lanes = GpuLanes()
        of_bytes = ir.MemRefType(a["values"].type).element_type == ir.IntegerType.get_signless(8)
        self._words = words(a["values"]) if of_bytes else None

    def zero(self) -> Value:
        """A sum of nothing, for a vector of tokens."""
        return self._lanes.constant(0.0)

    def plus(self, a: Value, b: Value) -> Value:
        return arith.addf(a, b)

    def first_weight(self, offset: Value) -> Value:
        """The place of a tile's first weight, as `add` takes it; `offset` is what `offsets` says."""
        return offset

    def add(self, entry: Value, weight: Value, totals: list[Value]) -> list[Value]:
        """`totals` of some rows, row by row, with the products of `entries` column entries added, whose first weight is
        at `weight`."""
        source, lanes = load_index(self._a["columns"], entry), self._lanes
        x = [lanes.load(self._a["x"], [*self._panel, source, mul(run, TOKENS_OF_A_THREAD)]) for run in self._runs]
        new = []
        for n, w in enumerate(self._weights(weight, len(totals) // len(x))):
            own = totals[n * len(x) : (n + 1) * len(x)]
            new += [vector.fma(w, value, total) for value, total in zip(x, own, strict=True)]
        return new

    def in_f32(self, total: Value, run: Value) -> Value:
        """A sum for the tokens of `run`, but for the scales of rows."""
        return total

    def walk(self, first: Value, stop: Value, step: int, carried: list[Value], column: Column) -> list[Value]:
        """What `column` makes of `carried`, which is sums and the place of a weight, at `first`, `first + step`, ..."""
        return loop(first, stop, step, carried, column)

    def _weights(self, first: Value, count: int) -> Iterator[Value]:
        width = TOKENS_OF_A_THREAD if self._full else 1
        for n in range(0, count, width):
            for weight in self._loaded(add(first, n), width):
                yield self._lanes.spread(weight)

    def _loaded(self, at: Value, width: int) -> list[Value]:
        """`width` neighbouring weights: one, or the four of a vector. Tiles whose rows all have every column are whole
        vectors, one behind the other, so that vectors of bytes begin at words."""
        if self._words is None:
            return elements(self._lanes.load_weights(self._a["values"], [at], width))
        if width == 1:
            return [arith.sitofp(ir.F32Type.get(), signed_byte(self._words, at))]
        return elements(arith.sitofp(self._lanes.type, signed_bytes(self._words, at)))


class HalfColumns(FloatColumns):
    """Adds products of f16, and sums `most` of them in f16 before that sum is added to one in f32; a layer has
    `columns` columns. What was infinite in f16 is no number in the end."""

    def __init__(
        self, a: dict[str, Value], panel: list[Value], runs: list[Value], full: bool, most: int, columns: int
    ) -> None:
        super().__init__(a, panel, runs, full)
        self._wide, self._lanes, self._most, self._columns = self._lanes, HalfLanes(), most, columns

    def zero(self) -> Value:
        return self._wide.constant(0.0)

    def in_f32(self, total: Value, run: Value) -> Value:
        return self._wide.within(total, -F32_LOWEST)

    def walk(self, first: Value, stop: Value, step: int, carried: list[Value], column: Column) -> list[Value]:
        def part(begin: Value, carried: list[Value]) -> list[Value]:
            *totals, weight = carried
            halves, end = [self._lanes.constant(0.0)] * len(totals), stop
            if not fits:
                end = arith.minui(stop, add(begin, self._most * step))
            *halves, weight = loop(begin, end, step, [*halves, weight], column)
            return [*(self.plus(t, self._lanes.widened(h)) for t, h in zip(totals, halves, strict=True)), weight]

        fits = self._columns <= self._most * step
        return part(first, carried) if fits else loop(first, stop, self._most * step, carried, part)
