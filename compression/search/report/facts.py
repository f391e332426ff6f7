"""What a report shows, as numbers."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SearchError
from ..measurement import Goal, Objective
from ..outcome import outcome_of
from ..search import open_search
from ..space import Choice
from ..trials import Trial, Trials

# With fewer candidates chance explains as much as any choice.
_FEW = 12


@dataclasses.dataclass(frozen=True)
class Reference:
    """A model to stand beside the candidates: its `name` and figures."""

    name: str
    figures: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Front:
    """`points` of candidates by number: what is given up (`across`, such as `latency_ms`) and what is won (`up`, such
    as `f1`); `best`, the numbers of those that no other beats in both, from left to right."""

    across: str
    up: Objective
    points: dict[int, tuple[float, float]]
    best: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Facts:
    """A search by its journal.

    `trials`; `seconds` that drivers worked; `controller`; `choices` of each dimension by name; `winners`: for each goal
    its sentence, and the best trial or None; `fronts` of each stage that ranks, the last first; `growth`: for each goal
    the loss of the best so far by the number of candidates; `importance`: the part of the objective's variance that
    each dimension explains, the largest first; `agreement`: rank correlation of two stages and how many candidates went
    through both; `failures`: sentences and how often each was said.
    """

    trials: Trials
    seconds: float
    controller: str
    choices: dict[str, list[Choice]]
    winners: list[tuple[str, Trial | None]]
    fronts: list[Front]
    growth: list[list[tuple[int, float]]]
    importance: list[tuple[str, float]]
    agreement: list[tuple[str, str, float, int]]
    failures: dict[str, int]


def facts_of(folder: Path | str) -> Facts:
    """The facts of the search in `folder`. Raises `SearchError` where there is none, or nothing was evaluated yet."""
    journal, trials = open_search(folder)
    if not journal.results:
        raise SearchError(f"the search in '{folder}' has no results yet", usage=True)
    assert journal.header is not None
    header = journal.header
    found = trials.all()
    failures: dict[str, int] = {}
    for trial in found:
        if trial.failure:
            failures[trial.failure] = failures.get(trial.failure, 0) + 1
    return Facts(
        trials,
        journal.seconds,
        header["controller"],
        {name: choices for name, choices, *_ in header["dimensions"]},
        [(said(goal), trials.winner(goal)) for goal in trials.goals],
        _fronts(trials),
        [_growth(found, goal) for goal in trials.goals],
        importance(found, trials.goals[0].objectives[0]),
        _agreement(trials),
        dict(sorted(failures.items(), key=lambda item: -item[1])),
    )


def said(goal: Goal) -> str:
    """A goal in words: `error, latency_ms <= 4`."""
    words = [o.figure for o in goal.objectives]
    words += [f"{limit.figure} {'>=' if limit.least else '<='} {limit.value:g}" for limit in goal.limits]
    return ", ".join(words)


def missed(trials: Trials, goal: Goal) -> str | None:
    """Why a goal has no winner, in a sentence that says how near candidates came; None where it has one."""
    if trials.winner(goal) is not None:
        return None
    found = trials.all()
    for limit in goal.limits:
        values = [t.figures[limit.figure] for t in found if not t.failure and limit.figure in t.figures]
        nearest = (max if limit.least else min)(values, default=None)
        if nearest is not None and limit.excess({limit.figure: nearest}) > 0:
            word = "largest" if limit.least else "least"
            bound = f"{'>=' if limit.least else '<='} {limit.value:g}"
            return f"no candidate has {limit.figure} {bound}: the {word} of {len(values)} is {nearest:.4g}"
    failed = sum(t.failure is not None for t in found)
    return f"no candidate keeps the limits of '{said(goal)}'; of {len(found)}, {failed} failed"


def importance(trials: Sequence[Trial], objective: Objective) -> list[tuple[str, float]]:
    """For each dimension the part of the variance of an objective that lies between its choices (the correlation ratio
    of Pearson 1905), corrected for what chance gives to as many groups; the largest first, without those that explain
    nothing. Empty for fewer than a dozen candidates.
    """
    known = [t for t in trials if not t.failure and objective.figure in t.figures]
    if len(known) < _FEW:
        return []
    losses = np.array([objective.loss(t.figures) for t in known])
    # By place: one bad candidate is not to decide on everything.
    places = losses.argsort().argsort().astype(float)
    total = float(((places - places.mean()) ** 2).sum())
    found = []
    for name in known[0].candidate:
        groups: dict[Choice, list[float]] = {}
        for trial, place in zip(known, places, strict=True):
            groups.setdefault(trial.candidate[name], []).append(place)
        if len(groups) < 2 or len(groups) >= len(known):
            continue
        between = sum(len(g) * (statistics.fmean(g) - places.mean()) ** 2 for g in groups.values())
        within = (total - between) / (len(known) - len(groups))
        part = (between - (len(groups) - 1) * within) / total
        found += [(name, part)] if part > 0 else []
    return sorted(found, key=lambda pair: -pair[1])


def _growth(trials: Sequence[Trial], goal: Goal) -> list[tuple[int, float]]:
    """The first objective's loss of the best candidate so far that keeps the limits, where it changes."""
    best, steps = float("inf"), []
    objective = goal.objectives[0]
    for count, trial in enumerate(trials, 1):
        # At the first stage where the figure is there: later stages have only some of the candidates.
        figures = next((known for known in trial.known if goal.figures <= known.keys()), None)
        if trial.failure or figures is None or not outcome_of(goal, figures).feasible:
            continue
        if objective.loss(figures) < best:
            best = objective.loss(figures)
            steps.append((count, best))
    return [*steps, (len(trials), best)] if steps else []


def _fronts(trials: Trials) -> list[Front]:
    """The fronts of the stages' objectives against the figure of the first limit, or the second objective."""
    goal = trials.goals[0]
    others = [limit.figure for limit in goal.limits] + [o.figure for o in goal.objectives[1:]]
    if not others:
        return []
    across = others[0]
    # A stage that times what others ranked has no figure of its own.
    ranks = list(dict.fromkeys(stage.ranks for stage in reversed(trials.stages) if stage.ranks is not None))
    found = []
    for up in ranks or [goal.objectives[0]]:
        points = {}
        for trial in trials.all():
            if not trial.failure and across in trial.figures and up.figure in trial.figures:
                points[trial.number] = (trial.figures[across], trial.figures[up.figure])
        if points:
            found.append(Front(across, up, points, _best(points, up)))
    return found


def _best(points: Mapping[int, tuple[float, float]], up: Objective) -> tuple[int, ...]:
    front: list[int] = []
    reached = float("inf")
    for number in sorted(points, key=lambda n: (points[n][0], up.loss({up.figure: points[n][1]}))):
        loss = up.loss({up.figure: points[number][1]})
        if loss < reached:
            front.append(number)
            reached = loss
    return tuple(front)


def _agreement(trials: Trials) -> list[tuple[str, str, float, int]]:
    """Spearman's rank correlation of the objectives of each two stages, over candidates that went through both."""
    ranks = list(dict.fromkeys(stage.ranks for stage in trials.stages if stage.ranks is not None))
    found = []
    for number, one in enumerate(ranks):
        for other in ranks[number + 1 :]:
            both = [t.figures for t in trials.all() if not t.failure and {one.figure, other.figure} <= t.figures.keys()]
            if len(both) >= 4:
                pairs = [_places([objective.loss(f) for f in both]) for objective in (one, other)]
                with np.errstate(invalid="ignore"):
                    correlation = float(np.corrcoef(*pairs)[0, 1])
                if np.isfinite(correlation):
                    found.append((one.figure, other.figure, correlation, len(both)))
    return found


def _places(values: Sequence[float]) -> Any:
    """The place of each value among them, from 0; equals share the mean of theirs."""
    array = np.asarray(values)
    return np.array([(array < v).sum() + ((array == v).sum() - 1) / 2 for v in array])
