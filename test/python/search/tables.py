"""A smooth space of 3,125 candidates whose figures are formulas: what controllers are tried on."""

import numpy as np

from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.space import Dimension, Space

SPACE = Space("smooth", tuple(Dimension(f"d{n}", tuple(range(5)), phase=int(n > 1)) for n in range(5)))
_random = np.random.default_rng(0)
_LOSSES = _random.random((5, 5)).cumsum(axis=1) ** 2
_LOSSES /= _LOSSES.max()
_COSTS = -np.sort(-_random.random((5, 5)), axis=1)
GOAL = Goal((Objective("loss"),), (Limit("cost", 2.0),))
FRONT = Goal((Objective("loss"), Objective("cost")))


def figures(candidate):
    """A loss that does not add up, and a cost that does: what makes the one small makes the other large."""
    places = [candidate[f"d{n}"] for n in range(5)]
    loss = sum(_LOSSES[n, place] for n, place in enumerate(places))
    return {"loss": loss + 0.3 * loss**2, "cost": sum(_COSTS[n, place] for n, place in enumerate(places))}
