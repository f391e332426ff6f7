"""What is found out about a candidate, and what a search wants of it."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from .errors import SearchError
from .space import Candidate


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The figures of a candidate at a stage of evaluation, by name (`latency_ms`, `error`, `f1`, `bundle_bytes` ...).

    `failure`: why there are none, one sentence; a candidate that failed is never proposed as a result. `seconds` that
    finding them took.
    """

    figures: Mapping[str, float]
    failure: str | None = None
    seconds: float = 0.0


class Evaluator(Protocol):
    """Finds figures. Called in worker processes, so that it must be picklable, and may crash or hang there."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, the cheapest first."""

    def evaluate(self, candidate: Candidate, stage: str) -> Measurement:
        """The figures of one stage; those of earlier stages are not repeated."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """One figure to make small or large, and what it may not exceed (or fall below): a constraint, not a penalty."""

    figure: str
    largest: bool = False
    limit: float | None = None

    def __post_init__(self) -> None:
        if not self.figure:
            raise SearchError("an objective names a figure, found none")

    def met(self, figures: Mapping[str, float]) -> bool:
        """Whether the limit holds; without a limit it does."""
        if self.limit is None:
            return True
        return figures[self.figure] >= self.limit if self.largest else figures[self.figure] <= self.limit

    def better(self, one: Mapping[str, float], other: Mapping[str, float]) -> bool:
        """Whether the figure of `one` is strictly better than that of `other`."""
        a, b = one[self.figure], other[self.figure]
        return a > b if self.largest else a < b
