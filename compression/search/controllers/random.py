"""Any candidate is as likely as any other: what the others have to beat."""

import numpy as np

from ..measurement import Goal
from ..outcome import Outcome
from ..space import Candidate, Space


class Random:
    """Draws candidates at random."""

    def __init__(self, space: Space, goal: Goal, seed: int = 0) -> None:
        self._space, self._generator = space, np.random.default_rng(seed)

    def propose(self) -> Candidate:
        """A candidate drawn at random."""
        return self._space.sample(self._generator)

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Changes nothing."""
