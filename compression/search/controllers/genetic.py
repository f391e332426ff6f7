"""A genetic algorithm.

The population is the best of all that was observed, so that the best is never lost; each parent is the best of a few
drawn from it; a child takes each choice from either parent, and then some of its choices change, mostly to a neighbour.
Source: GRIM (Niu et al. 2021), section 5.3, searches with a genetic algorithm; the operators are the textbook's, in the
steady state, so that a search can stop after any candidate. Limits are kept by how candidates compare (`Outcome`).
"""

import numpy as np

from ..measurement import Goal
from ..outcome import Outcome, best_first
from ..space import Candidate, Space

POPULATION, TOURNAMENT = 16, 3
# The part of the children that have one parent only, which is how the neighbourhood of the best is searched.
_ALONE = 0.3


class Genetic:
    """The genetic algorithm. The first `POPULATION` candidates are drawn at random."""

    def __init__(self, space: Space, goal: Goal, seed: int = 0) -> None:
        self._space, self._generator = space, np.random.default_rng(seed)
        self._people: list[tuple[Candidate, Outcome]] = []
        self._drawn = 0

    def propose(self) -> Candidate:
        """A child of two candidates of the population; at first any candidate."""
        if self._drawn < POPULATION or len(self._people) < 2:
            self._drawn += 1
            return self._space.sample(self._generator)
        random = self._generator
        one, other = self._parent(), self._parent()
        alone = random.random() < _ALONE
        mixed = {name: one[name] if alone or random.random() < 0.5 else other[name] for name in one}
        child = self._space.canonical(mixed)
        if not self._space.allows(child):
            child = dict(one)
        changes = int(random.binomial(len(child), 1 / len(child)))
        # A child that is one of its parents is known already.
        changes = changes if changes or child not in (one, other) else 1
        return self._space.mutate(child, random, changes) if changes else child

    def _parent(self) -> Candidate:
        # People are sorted: the smallest of the drawn numbers is the best.
        drawn = self._generator.integers(len(self._people), size=TOURNAMENT)
        return self._people[int(drawn.min())][0]

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes the candidate into the population, and leaves the worst out where it is full."""
        if any(candidate == person for person, _ in self._people):
            return
        people = [*self._people, (candidate, outcome)]
        order = best_first([outcome for _, outcome in people])
        self._people = [people[n] for n in order[:POPULATION]]
