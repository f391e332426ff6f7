"""The candidates of a search, by number: an order that neither time nor the number of workers changes.

Candidate `n` is proposed when what came of the candidates up to `n - lag` is known and was told to the controllers, in
the order of their numbers, and nothing of later ones. So it follows from the seed and these outcomes alone, whoever
measured them and when; up to `lag` candidates can be measured at a time, and a search that was stopped goes on where it
was when it is told again what is known.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .controllers import Controller
from .measurement import Goal
from .outcome import outcome_of
from .space import Candidate, Choice, Space, candidate_line

# How often a controller is asked again when it proposes what was proposed before, how often a neighbour is looked for
# with as many changes, and how large a space is gone through for the last candidates that are left.
_ASKED, _TRIES, _LARGE = 5, 20, 100_000
Figures = Mapping[str, float]


class Proposals:
    """Each candidate once, from `controllers` in turns; each of them searches for the goal of its place in `goals`.

    `first`: candidates that come before those of the controllers. `lag`: see above, at least 1.
    """

    def __init__(
        self,
        space: Space,
        goals: Sequence[Goal],
        controllers: Sequence[Controller],
        seed: int = 0,
        lag: int = 1,
        first: Sequence[Candidate] = (),
    ) -> None:
        self.candidates: list[dict[str, Choice]] = []
        """The candidates so far, by number."""
        self._space, self._goals, self._controllers = space, goals, controllers
        self._seed, self._lag = seed, lag
        self._first = [dict(candidate) for candidate in first]
        self._numbers: dict[str, int] = {}
        self._told: dict[int, Figures | None] = {}
        self._observed = 0
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether no candidate is left that was not proposed."""
        return self._exhausted

    def tell(self, number: int, figures: Figures | None) -> None:
        """What came of candidate `number`: its figures, or None where it failed."""
        self._told[number] = figures

    def next(self) -> dict[str, Choice] | None:
        """The next candidate; None where it has to wait for outcomes, or where none is left."""
        number = len(self.candidates)
        known = number - self._lag
        if self._exhausted or any(n not in self._told for n in range(self._observed, known + 1)):
            return None
        while self._observed <= known:
            self._observe(self._controllers, self._observed)
            self._observed += 1
        candidate = self._new(number)
        if candidate is None:
            self._exhausted = True
            return None
        return self._adopt(candidate)

    def replay(self, candidate: Candidate) -> None:
        """Makes the next proposal again, which was `candidate`: that counts where another version of a library proposes
        something else."""
        proposed = self.next()
        if proposed == candidate:
            return
        if proposed is not None:
            del self._numbers[candidate_line(self.candidates.pop())]
        self._exhausted = False
        self._adopt(candidate)

    def _adopt(self, candidate: Candidate) -> dict[str, Choice]:
        self._numbers.setdefault(candidate_line(candidate), len(self.candidates))
        self.candidates.append(dict(candidate))
        return self.candidates[-1]

    def _observe(self, controllers: Sequence[Controller], number: int) -> None:
        candidate = self.candidates[number]
        for controller in controllers:
            goal = self._goals[self._controllers.index(controller)]
            controller.observe(candidate, outcome_of(goal, self._told[number]))

    def _new(self, number: int) -> dict[str, Choice] | None:
        if number < len(self._first):
            return self._first[number]
        controller = self._controllers[number % len(self._controllers)]
        candidate: Candidate = {}
        for _ in range(_ASKED):
            candidate = controller.propose()
            known = self._numbers.get(candidate_line(candidate))
            if known is None:
                return dict(candidate)
            if known < self._observed:
                self._observe([controller], known)
        return self._neighbour(candidate, np.random.default_rng([self._seed, number]))

    def _neighbour(self, candidate: Candidate, generator: np.random.Generator) -> dict[str, Choice] | None:
        """A new candidate near one that the controller insists on, else any that is new; None where none is left."""
        for changes in range(1, len(self._space.dimensions) + 1):
            for _ in range(_TRIES):
                changed = self._space.mutate(candidate, generator, changes)
                if candidate_line(changed) not in self._numbers:
                    return changed
        if self._space.size > _LARGE:
            return None
        left = [c for c in self._space.enumerate() if candidate_line(c) not in self._numbers]
        return left[int(generator.integers(len(left)))] if left else None
