"""Successive halving: which stage of which candidate comes next, within a budget.

A part of the budget is for proposing candidates, whose stages run until all figures are there that the goals ask for;
the other parts, equally large, are for the stages after these, one for each. To such a stage come the best of the stage
before it, for all goals in turns: a `reduction`th of them, and as many as the time allows. A late stage that measures
on a device takes all: it costs little beside what the candidates have been through.
Source: Jamieson and Talwalkar 2016; what a stage costs is not known before, so time is shared out, not candidates.
"""

import dataclasses
import math
import statistics
from collections.abc import Collection

from .journal import Journal, Key
from .measurement import Stage
from .trials import Trial, Trials


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to search: `candidates` to propose, `seconds` of time, or whichever ends first.

    `reduction`: one of so many candidates comes to the next of the late stages.
    """

    candidates: int | None = None
    seconds: float | None = None
    reduction: int = 4

    def exploring(self, journal: Journal, late_stages: int) -> bool:
        """Whether more candidates are to be proposed."""
        if self.candidates is not None and len(journal.candidates) >= self.candidates:
            return False
        return self.seconds is None or journal.seconds < self.seconds / (1 + late_stages)

    def until(self, late_stage: int, late_stages: int) -> float:
        """The seconds at which the part of a late stage (0, 1, ...) ends."""
        return math.inf if self.seconds is None else self.seconds * (2 + late_stage) / (1 + late_stages)


class Halving:
    """Chooses tasks. `late_stages`: how many stages there are after those that decide, as far as can be told before
    a candidate is through."""

    def __init__(self, trials: Trials, journal: Journal, budget: Budget) -> None:
        self._trials, self._journal, self._budget = trials, journal, budget

    @property
    def exploring(self) -> bool:
        """Whether more candidates are to be proposed."""
        return self._budget.exploring(self._journal, self._late_stages)

    @property
    def _late_stages(self) -> int:
        known = self._trials.finals
        if known or any(t.decided and not t.failure for t in self._trials.all()):
            return len(known)
        # Before the first candidate is through: stages that rank are late ones, but for the first of them.
        return max(0, sum(stage.ranks is not None for stage in self._trials.stages) - 1)

    def late(self, claims: Collection[Key]) -> tuple[Trial, Stage] | None:
        """The next candidate of a late stage, when exploring has ended and all of that is decided; None where there
        is nothing to begin now. `claims`: what is being evaluated."""
        finals = self._trials.finals
        for place, stage in enumerate(finals):
            before = self._trials.stages[self._trials.stages.index(stage) - 1].name
            wanted = self._wanted(stage, before)
            here = [t for t in wanted if stage.name not in t.stages and (t.number, stage.name) not in claims]
            if here and self._has_time(stage, place, len(finals)):
                return here[0], stage
            if any(name == stage.name for _, name in claims):
                # The next stage takes the best of this one, all of them.
                return None
        return None

    def _wanted(self, stage: Stage, before: str) -> list[Trial]:
        """The best of the stage `before`, for all goals in turns, as many as the reduction leaves; all of them where
        `stage` measures what has been paid for."""
        lists = [self._trials.ranked(goal, before) for goal in self._trials.goals]
        passed = {trial.number for trials in lists for trial in trials}
        count = len(passed) if stage.target else max(len(lists), math.ceil(len(passed) / self._budget.reduction))
        chosen: dict[int, Trial] = {}
        for place in range(max(map(len, lists), default=0)):
            for trials in lists:
                if place < len(trials) and len(chosen) < count:
                    chosen.setdefault(trials[place].number, trials[place])
        return list(chosen.values())

    def _has_time(self, stage: Stage, place: int, stages: int) -> bool:
        taken = [m.seconds for (_, name), m in self._journal.results.items() if name == stage.name]
        # The first of a stage is always begun: a search whose time was spent too early still ends with a winner.
        expected = statistics.median(taken) if taken else 0.0
        return not taken or self._journal.seconds + expected <= self._budget.until(place, stages)
