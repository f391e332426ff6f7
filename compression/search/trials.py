"""What is known of the candidates of a search, read out of its journal."""

import dataclasses
from collections.abc import Sequence

from .journal import Journal
from .measurement import Goal, Stage
from .outcome import Outcome, best_first, outcome_of, ranks
from .space import Choice


@dataclasses.dataclass(frozen=True)
class Trial:
    """A candidate and what came of it.

    `stages` that it went through, in order; `known`: the figures of it after each of them; `failure`: why it gave none
    at the last one; `decision`: the figures by which it first missed limits of all goals or had all that they ask for.
    """

    number: int
    candidate: dict[str, Choice]
    stages: tuple[str, ...] = ()
    known: tuple[dict[str, float], ...] = ()
    failure: str | None = None
    decision: dict[str, float] | None = None

    @property
    def decided(self) -> bool:
        """Whether controllers can be told what came of it: its decision, or that it failed."""
        return self.failure is not None or self.decision is not None

    @property
    def figures(self) -> dict[str, float]:
        """All figures; where stages give the same, that of the last."""
        return self.known[-1] if self.known else {}

    def figures_at(self, stage: str) -> dict[str, float]:
        """The figures that were known after a stage that it went through."""
        return self.known[self.stages.index(stage)]

    def outcome(self, goal: Goal, stage: str | None = None) -> Outcome:
        """What it is worth for a goal; as it was known after `stage`."""
        figures = self.figures if stage is None else self.figures_at(stage)
        return outcome_of(goal, None if self.failure else figures)


class Trials:
    """The trials of a journal. `stages` of the evaluator; `goals` of the search."""

    def __init__(self, journal: Journal, stages: Sequence[Stage], goals: Sequence[Goal]) -> None:
        self._journal, self.stages, self.goals = journal, tuple(stages), tuple(goals)
        self._wanted = frozenset().union(*(goal.figures for goal in goals))
        self._trials: dict[int, Trial] = {}
        self._seen = 0

    def refresh(self) -> list[int]:
        """Takes in what was added to the journal; returns the numbers of the trials that changed."""
        changed = []
        for number, _ in self._journal.order[self._seen :]:
            self._trials.pop(number, None)
            changed.append(number)
        self._seen = len(self._journal.order)
        return changed

    def __getitem__(self, number: int) -> Trial:
        if number not in self._trials:
            self._trials[number] = self._read(number)
        return self._trials[number]

    def all(self) -> list[Trial]:
        """All trials, by number."""
        return [self[number] for number in sorted(self._journal.candidates)]

    def _read(self, number: int) -> Trial:
        candidate = self._journal.candidates[number]
        figures: dict[str, float] = {}
        done: list[str] = []
        known = []
        failure = decision = None
        for stage in self.stages:
            found = self._journal.results.get((number, stage.name))
            if found is None:
                break
            done.append(stage.name)
            failure = found.failure
            figures = {**figures, **found.figures}
            known.append(figures)
            if failure:
                break
            # Who misses a limit of every goal needs no further figures.
            hopeless = all(outcome_of(goal, figures).violation > 0 for goal in self.goals)
            if decision is None and (hopeless or self._wanted <= figures.keys()):
                decision = figures
        lacking = sorted(self._wanted - figures.keys())
        if decision is None and not failure and len(done) == len(self.stages):
            failure = f"no stage gives the figure '{lacking[0]}' that the search asks for"
        return Trial(number, candidate, tuple(done), tuple(known), failure, decision)

    def next_stage(self, number: int) -> Stage | None:
        """The stage that an undecided trial comes to; None for a decided one."""
        trial = self[number]
        return None if trial.decided else self.stages[len(trial.stages)]

    @property
    def finals(self) -> tuple[Stage, ...]:
        """The stages after those that decide, for the best."""
        for trial in self.all():
            if trial.decision is not None and self._wanted <= trial.decision.keys():
                return self.stages[trial.known.index(trial.decision) + 1 :]
        return ()

    def ranked(self, goal: Goal, after: str | None = None) -> list[Trial]:
        """The trials that keep the limits of a goal, the best first.

        `after`: only those that passed this stage, by what was known then; late stages compare by the objective that
        ranks them or the late stage before, all others by the goal.
        """
        trials = [t for t in self.all() if after is None or after in t.stages]
        trials = [t for t in trials if t.outcome(goal, after).feasible]
        late = [stage.name for stage in self.finals]
        passed = self.finals[: late.index(after) + 1] if after in late else ()
        objective = next((stage.ranks for stage in reversed(passed) if stage.ranks is not None), None)
        if objective is not None and after is not None:
            return sorted(trials, key=lambda t: (objective.loss(t.figures_at(after)), t.number))
        return [trials[n] for n in best_first([trial.outcome(goal, after) for trial in trials])]

    def winner(self, goal: Goal) -> Trial | None:
        """The best trial of a goal: of those that came furthest, as `ranked` says. None where none keeps its limits."""
        last = max((t.stages for t in self.ranked(goal)), key=len, default=())
        return next(iter(self.ranked(goal, last[-1] if last else None)), None)

    def front(self, goal: Goal) -> list[Trial]:
        """The trials that no other dominates, of those that keep the limits."""
        trials = self.ranked(goal)
        return [t for t, rank in zip(trials, ranks([t.outcome(goal) for t in trials]), strict=True) if rank == 0]
