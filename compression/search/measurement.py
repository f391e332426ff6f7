"""What is found out about a candidate, and what a search wants of it."""

import dataclasses
import math
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


@dataclasses.dataclass(frozen=True)
class Objective:
    """One figure to make small, or with `largest` large."""

    figure: str
    largest: bool = False

    def __post_init__(self) -> None:
        if not self.figure:
            raise SearchError("an objective names a figure, found none")

    def loss(self, figures: Mapping[str, float]) -> float:
        """The figure as a number to make small."""
        return -figures[self.figure] if self.largest else figures[self.figure]


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a figure may not exceed, or with `least` not fall below: a constraint, not a penalty.

    Raises `SearchError` for a limit that is no number.
    """

    figure: str
    value: float
    least: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise SearchError(f"the limit of '{self.figure}' is a number, found {self.value}")

    def excess(self, figures: Mapping[str, float]) -> float:
        """By how much the limit is missed, as a fraction of it; 0 or less where it is met."""
        found = figures[self.figure]
        return (self.value - found if self.least else found - self.value) / (abs(self.value) or 1.0)


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is searched for: the best of one objective, or the front of several, among what keeps all limits.

    Raises `SearchError` without an objective.
    """

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if not self.objectives:
            raise SearchError("a search has at least one objective, found none")

    @property
    def figures(self) -> frozenset[str]:
        """The names of the figures that decide."""
        return frozenset(wish.figure for wish in (*self.objectives, *self.limits))


@dataclasses.dataclass(frozen=True)
class Stage:
    """A step of evaluation, with figures of its own.

    `ranks`: the objective by which the candidates that come to the next stage are chosen; None where all go on.
    `target`: the device that the stage measures on: it runs where that device is, and one candidate at a time.
    `seconds` after which a candidate is taken for one that hangs.
    """

    name: str
    ranks: Objective | None = None
    target: str | None = None
    seconds: float = 600.0


class Evaluator(Protocol):
    """Finds figures. Called in worker processes, so that it must be picklable, and may crash or hang there."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, the cheapest first."""

    def evaluate(self, candidate: Candidate, stage: str) -> Measurement:
        """The figures of the stage of that name; those of earlier stages are not repeated."""
