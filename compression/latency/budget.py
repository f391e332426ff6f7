"""One option for each of many layers, so that the loss is least and the costs stay within a budget.

This is the multiple-choice knapsack problem. It is solved by dynamic programming over the layers: of all partial
choices those are kept that no other one beats in cost and loss (Pareto front). The front is exact until it has more
than `_FRONT` points; then the range of costs is cut into as many equal pieces, and of each the point with the least
loss goes on, with its true cost. So what is found always fits; its loss is at most that of the best choice for a budget
smaller by layers / `_FRONT` (1 % for 40 layers).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

_FRONT = 4000


@dataclasses.dataclass(frozen=True)
class Options:
    """What one layer can be: `costs` and `losses` of its options, in the same order."""

    costs: np.ndarray
    losses: np.ndarray


def least_cost(layers: Sequence[Options]) -> float:
    """The smallest sum of costs."""
    return float(sum(layer.costs.min() for layer in layers))


def choose_within(layers: Sequence[Options], budget: float) -> list[int] | None:
    """The number of an option for each layer, of least summed loss with summed cost <= `budget`; None where nothing
    fits. Of equal losses the cheapest."""
    ahead = np.cumsum([0.0, *(layer.costs.min() for layer in reversed(layers))])[::-1]
    # Sums of the same numbers in another order differ in their last bits.
    budget += 1e-9 * abs(budget)
    if ahead[0] > budget:
        return None
    costs, losses = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for position, layer in enumerate(layers):
        summed = (costs[:, None] + layer.costs[None, :]).reshape(-1)
        lost = (losses[:, None] + layer.losses[None, :]).reshape(-1)
        fitting = np.flatnonzero(summed + ahead[position + 1] <= budget)
        kept = fitting[_front(summed[fitting], lost[fitting])]
        steps.append((kept // len(layer.costs), kept % len(layer.costs)))
        costs, losses = summed[kept], lost[kept]
    state = int(np.argmin(losses))
    chosen = []
    for before, option in reversed(steps):
        chosen.append(int(option[state]))
        state = int(before[state])
    return chosen[::-1]


def _front(costs: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The points that no other one beats, by rising cost; at most about `_FRONT` of them."""
    order = np.lexsort((losses, costs))
    best = np.minimum.accumulate(losses[order])
    falls = np.concatenate([[True], best[1:] < best[:-1]])
    front = order[falls]
    if len(front) <= _FRONT:
        return front
    span = costs[front[-1]] - costs[front[0]]
    pieces = np.minimum((costs[front] - costs[front[0]]) * (_FRONT / span), _FRONT - 1).astype(np.int64)
    last = np.concatenate([pieces[1:] != pieces[:-1], [True]])
    last[0] = True  # the cheapest is what makes a choice for the layers ahead possible
    return front[last]
