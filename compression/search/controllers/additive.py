"""Exact dynamic programming for spaces where losses and costs add up over the dimensions: the yardstick.

It takes a candidate, measures each other choice of each dimension alone in it, and takes the differences for what each
choice adds. From then on it proposes the candidates that are best by these sums: the best, the second best, and so on.
Where figures do add up, its first proposal after the measurements is the optimum.
"""

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import SearchError
from ..measurement import Goal
from ..outcome import FAILED, Outcome
from ..space import Candidate, Space, candidate_line


def best_sum(
    losses: Sequence[np.ndarray], costs: Sequence[np.ndarray], most: float = math.inf
) -> tuple[float, list[int]] | None:
    """The choice for each dimension of least summed loss whose summed cost is at most `most`; None where none is.

    `losses`, `costs`: per dimension, of each of its choices. Exact: of the choices for the first dimensions only those
    are kept that no others match in loss and cost (Nemhauser and Ullmann 1969), and that can still keep `most`.
    """
    least = [float(cost.min()) for cost in costs]
    rest = [sum(least[n + 1 :]) for n in range(len(least))]
    loss, cost = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    slack = 1e-9 * max(1.0, abs(most)) if math.isfinite(most) else 0.0
    for more_loss, more_cost, ahead in zip(losses, costs, rest, strict=True):
        all_losses, all_costs = (loss[:, None] + more_loss).ravel(), (cost[:, None] + more_cost).ravel()
        order = np.lexsort((all_losses, all_costs))
        order = order[all_costs[order] + ahead <= most + slack]
        if not len(order):
            return None
        lowest = np.minimum.accumulate(all_losses[order])
        kept = order[np.concatenate([[True], lowest[1:] < lowest[:-1]])]
        loss, cost = all_losses[kept], all_costs[kept]
        steps.append(np.divmod(kept, len(more_loss)))
    place, chosen = len(loss) - 1, []
    best = float(loss[place])
    for before, choice in reversed(steps):
        chosen.append(int(choice[place]))
        place = int(before[place])
    return best, chosen[::-1]


def sums_in_order(
    losses: Sequence[np.ndarray], costs: Sequence[np.ndarray], most: float = math.inf
) -> Iterator[list[int]]:
    """All choices whose summed cost is at most `most`, those of least summed loss first, each once.

    Source: Lawler 1972: what is left after a solution are parts, each with the first choices fixed to the solution's
    and the next one different; each part is solved by itself when the best of all parts is wanted.
    """
    ticket = itertools.count()
    heap: list[tuple[float, int, list[int], list[np.ndarray]]] = []

    def add(allowed: list[np.ndarray]) -> None:
        found = best_sum(
            [loss[some] for loss, some in zip(losses, allowed, strict=True)],
            [cost[some] for cost, some in zip(costs, allowed, strict=True)],
            most,
        )
        if found is not None:
            chosen = [int(some[place]) for some, place in zip(allowed, found[1], strict=True)]
            heapq.heappush(heap, (found[0], next(ticket), chosen, allowed))

    add([np.arange(len(loss)) for loss in losses])
    while heap:
        _, _, chosen, allowed = heapq.heappop(heap)
        yield chosen
        for number, choice in enumerate(chosen):
            others = allowed[number][allowed[number] != choice]
            if len(others):
                add([*(np.array([c]) for c in chosen[:number]), others, *allowed[number + 1 :]])


class Additive:
    """The controller. Raises `SearchError` for several objectives, and for more than one limit."""

    def __init__(self, space: Space, goal: Goal, seed: int = 0) -> None:
        if len(goal.objectives) != 1 or len(goal.limits) > 1:
            raise SearchError(
                "the controller 'additive' takes one objective and at most one limit, found"
                f" {len(goal.objectives)} and {len(goal.limits)}",
                usage=True,
            )
        self._space, self._limited = space, bool(goal.limits)
        self._generator = np.random.default_rng(seed)
        self._seen: dict[str, Outcome] = {}
        self._base: list[int] | None = None
        self._alone: list[list[int]] = []
        self._solutions: Iterator[list[int]] | None = None

    def propose(self) -> Candidate:
        """Until a candidate gives its figures, any; then what is left to measure; then the next best sum."""
        if self._base is None:
            return self._space.sample(self._generator)
        while self._alone:
            candidate = self._space.decode(self._alone.pop(0))
            if self._space.allows(candidate):
                return candidate
        if self._solutions is None:
            self._solutions = sums_in_order(*self._tables(self._base))
        for places in self._solutions:
            candidate = self._space.decode(places)
            if self._space.allows(candidate) and candidate_line(candidate) not in self._seen:
                return candidate
        return self._space.sample(self._generator)

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Keeps what came of it."""
        self._seen[candidate_line(candidate)] = outcome
        if self._base is None and outcome.losses:
            base = self._base = self._space.encode(candidate)
            for number, dimension in enumerate(self._space.dimensions):
                others = [place for place in range(len(dimension.choices)) if place != base[number]]
                self._alone += [[*base[:number], place, *base[number + 1 :]] for place in others]

    def _tables(self, base: list[int]) -> tuple[list[np.ndarray], list[np.ndarray], float]:
        """What each choice of each dimension adds to the base's loss and cost, and what of cost is left to it; infinite
        loss for a choice that failed."""
        start = self._outcome(base)
        losses, costs = [], []
        for number, dimension in enumerate(self._space.dimensions):
            found = [self._outcome([*base[:number], p, *base[number + 1 :]]) for p in range(len(dimension.choices))]
            losses.append(np.array([o.losses[0] - start.losses[0] if o.losses else math.inf for o in found]))
            costs.append(np.array([o.excesses[0] - start.excesses[0] if o.excesses else 0.0 for o in found]))
        # An excess is what costs are over the limit.
        return losses, costs, -start.excesses[0] if self._limited else math.inf

    def _outcome(self, places: list[int]) -> Outcome:
        return self._seen.get(candidate_line(self._space.decode(places)), FAILED)
