"""Where the kernel of packed rows finds its tokens: in panels of a linear layer, or in planes of a convolution."""

from collections.abc import Sequence
from typing import Protocol

from torch_mlir import ir
from torch_mlir.dialects import arith, memref

from .build import Lanes, Value, add, index, loop


class Places(Protocol):
    """`tokens`: the first token and the end of those to compute. A token is a place in x and in the result."""

    tokens: tuple[Value | int, Value | int]

    def x(self, lanes: Lanes, source: Value, at: Sequence[Value]) -> list[Value]:
        """Vectors of x that a column with the entry `source` meets for the tokens from each of `at`, neighbours."""

    def finish(self, lanes: Lanes, total: Value, activation: str, row: Value, at: Value) -> None:
        """Stores the result of a row for a vector of tokens, from its sums with scale and bias."""


class PanelPlaces:
    """The tokens of one panel: `x[batch, panel, source, token]`."""

    def __init__(self, arguments: dict[str, Value], batch: Value, panel: Value, tokens: int) -> None:
        self._arguments, self._place = arguments, [batch, panel]
        self.tokens: tuple[Value | int, Value | int] = (0, tokens)

    def x(self, lanes: Lanes, source: Value, at: Sequence[Value]) -> list[Value]:
        """Runs of the row `source`."""
        return lanes.load_run(self._arguments["x"], [*self._place, source], at)

    def finish(self, lanes: Lanes, total: Value, activation: str, row: Value, at: Value) -> None:
        """`activation(total) + residual`."""
        place = [*self._place, row, at]
        value = lanes.activate(activation, total)
        if "residual" in self._arguments:
            value = arith.addf(value, lanes.load(self._arguments["residual"], place))
        lanes.store(value, self._arguments["result"], place)


class PlanePlaces:
    """The positions `tokens` of one image: `x[batch, source + token]` over all its planes, `result[batch, row, origin +
    token]`; a position that is no pixel becomes zero, whatever was computed there."""

    def __init__(
        self,
        arguments: dict[str, Value],
        batch: Value,
        tokens: tuple[Value, Value],
        origin: int,
        residual_first: bool,
    ) -> None:
        self._arguments, self._batch, self.tokens = arguments, batch, tokens
        self._origin, self._residual_first = origin, residual_first
        shape = ir.MemRefType(arguments["x"].type)
        flat = ir.MemRefType.get([shape.shape[0], shape.shape[1] * shape.shape[2]], shape.element_type)
        self._x = memref.collapse_shape(flat, arguments["x"], [[0], [1, 2]])

    def x(self, lanes: Lanes, source: Value, at: Sequence[Value]) -> list[Value]:
        """Runs from the place that is as far from `source` as a token from the first one."""
        return lanes.load_run(self._x, [self._batch], [add(source, token) for token in at])

    def finish(self, lanes: Lanes, total: Value, activation: str, row: Value, at: Value) -> None:
        """`activation(total) + residual`, or the residual first."""
        place = [self._batch, row, add(at, self._origin)]
        if "residual" in self._arguments:
            residual = lanes.load(self._arguments["residual"], place)
            if self._residual_first:
                value = lanes.activate(activation, arith.addf(total, residual))
            else:
                value = arith.addf(lanes.activate(activation, total), residual)
        else:
            value = lanes.activate(activation, total)
        zero = lanes.constant(0.0)
        is_pixel = arith.cmpf(arith.CmpFPredicate.ONE, lanes.load(self._arguments["pixels"], [at]), zero)
        lanes.store(arith.select(is_pixel, value, zero), self._arguments["result"], place)

    def clear(self, lanes: Lanes, row: Value, start: int, stop: int) -> None:
        """Fills the positions `start .. stop` of a row of the result, whole vectors, with zeros."""

        def body(position: Value, _: list[Value]) -> list[Value]:
            lanes.store(lanes.constant(0.0), self._arguments["result"], [self._batch, row, position])
            return []

        if stop > start:
            loop(index(start), index(stop), lanes.width, [], body)
