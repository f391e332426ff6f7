"""How candidates compare: first whether they keep the limits, then by the objectives."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .measurement import Goal


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a candidate's figures are worth for a goal.

    `losses`: of each objective, the less the better; empty where they are not known, because the candidate failed or
    was given up when it missed a limit. `excesses`: by what fraction of it each limit is missed, 0 or less where it is
    met. `failed`: the candidate gave no figures.
    """

    losses: tuple[float, ...] = ()
    excesses: tuple[float, ...] = ()
    failed: bool = False

    @property
    def violation(self) -> float:
        """The sum of what is missed of all limits; 0 where all are met, infinite for a candidate that failed."""
        return math.inf if self.failed else sum(max(0.0, excess) for excess in self.excesses)

    @property
    def feasible(self) -> bool:
        """Whether the candidate gave its figures and keeps all limits."""
        return self.violation == 0.0 and bool(self.losses)

    def dominates(self, other: "Outcome") -> bool:
        """Whether this is better: it keeps the limits and the other does not; it misses them by less; or, where both
        keep them, no loss is larger and one is smaller.

        Source: constrained domination, Deb et al. 2002 (NSGA-II), after the comparison of Deb 2000.
        """
        if not (self.feasible and other.feasible):
            return (not self.feasible, self.violation) < (not other.feasible, other.violation)
        pairs = list(zip(self.losses, other.losses, strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


FAILED = Outcome(failed=True)


def outcome_of(goal: Goal, figures: Mapping[str, float] | None) -> Outcome:
    """The outcome of a candidate with these figures; None, or a figure that is no number: it failed.

    Figures that are missing are not known: a limit without its figure counts as met, one objective without its own
    leaves all losses out.
    """
    if figures is None or any(math.isnan(figures[name]) for name in goal.figures & figures.keys()):
        return FAILED
    known = all(objective.figure in figures for objective in goal.objectives)
    losses = tuple(objective.loss(figures) for objective in goal.objectives) if known else ()
    if any(math.isinf(loss) for loss in losses):
        return FAILED
    return Outcome(losses, tuple(limit.excess(figures) if limit.figure in figures else 0.0 for limit in goal.limits))


def ranks(outcomes: Sequence[Outcome]) -> list[int]:
    """For each outcome the front it is in: 0 where no other dominates it, 1 where only those of front 0 do, ...

    Source: non-dominated sorting, Deb et al. 2002.
    """
    found, front = [0] * len(outcomes), 0
    feasible = np.array([n for n, outcome in enumerate(outcomes) if outcome.feasible], dtype=int)
    losses = np.array([outcomes[n].losses for n in feasible])
    if len(feasible):
        one, other = losses[:, None], losses[None]
        dominates = (one <= other).all(axis=-1) & (one < other).any(axis=-1)
        left = np.ones(len(feasible), dtype=bool)
        while left.any():
            first = left & ~dominates[left].any(axis=0)
            for n in feasible[first]:
                found[n] = front
            left &= ~first
            front += 1
    missed = {n: outcome.violation for n, outcome in enumerate(outcomes) if not outcome.feasible}
    places = {violation: front + place for place, violation in enumerate(sorted(set(missed.values())))}
    for n, violation in missed.items():
        found[n] = places[violation]
    return found


def crowding(outcomes: Sequence[Outcome]) -> list[float]:
    """How far apart the neighbours of each outcome are, summed over the objectives as parts of their ranges; infinite
    at the ends of an objective, 0 without losses. Of one front, those far from others are the more worth keeping.

    Source: crowding distance, Deb et al. 2002.
    """
    known = [n for n, outcome in enumerate(outcomes) if outcome.losses]
    distance = [0.0] * len(outcomes)
    for objective in range(len(outcomes[known[0]].losses) if known else 0):
        order = sorted(known, key=lambda n: outcomes[n].losses[objective])
        spread = outcomes[order[-1]].losses[objective] - outcomes[order[0]].losses[objective]
        distance[order[0]] = distance[order[-1]] = math.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            gap = outcomes[after].losses[objective] - outcomes[before].losses[objective]
            distance[here] += gap / (spread or 1.0)
    return distance


def best_first(outcomes: Sequence[Outcome]) -> list[int]:
    """The numbers of the outcomes, the best first: by front, and within one the lonelier first; equals by number."""
    fronts = ranks(outcomes)
    several = any(len(outcome.losses) > 1 for outcome in outcomes)
    lonely = [0.0] * len(outcomes)
    for front in set(fronts) if several else ():
        members = [n for n, f in enumerate(fronts) if f == front]
        for n, distance in zip(members, crowding([outcomes[n] for n in members]), strict=True):
            lonely[n] = distance
    return sorted(range(len(outcomes)), key=lambda n: (fronts[n], -lonely[n], n))
