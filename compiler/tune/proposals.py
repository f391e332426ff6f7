"""Which schedule to try next: Optuna's ask and tell over the schedules of one layer, each of which is tried once."""

import random
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from .genetic import GeneticSampler

Schedule = dict[str, int]

# Asked so often for a schedule that is legal and new, a sampler is out of ideas.
_ATTEMPTS = 10


class Proposals:
    """Proposes schedules out of `space`, the legal ones, by `sampler` (`ga`, `tpe` or `random`).

    Optuna sees a knob as the position of its value, so that a sampler knows which values are neighbours.
    """

    def __init__(self, space: Sequence[Schedule], sampler: str, seed: int) -> None:
        names = list(space[0])
        self._values = {name: sorted({schedule[name] for schedule in space}) for name in names}
        self._left = {self._positions(schedule): schedule for schedule in space}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=self._sampler(sampler, seed))
        self._random = random.Random(seed)
        self._asked: dict[tuple[int, ...], optuna.Trial] = {}

    def ask(self) -> Schedule | None:
        """A schedule that was not proposed before; None where all were."""
        if not self._left:
            return None
        for _ in range(_ATTEMPTS):
            trial = self._study.ask(self._distributions)
            at = tuple(trial.params[name] for name in self._values)
            if at in self._left:
                self._asked[at] = trial
                return self._left.pop(at)
            # An illegal schedule, or one that is known, is no news; a sampler is told so that it goes elsewhere.
            self._study.tell(trial, state=TrialState.PRUNED)
        at = self._random.choice(list(self._left))
        self._study.enqueue_trial(dict(zip(self._values, at, strict=True)))
        self._asked[at] = self._study.ask(self._distributions)
        return self._left.pop(at)

    def tell(self, schedule: Schedule, score: float | None) -> None:
        """What came of a schedule: its time as a fraction of the default's, None where it failed.

        Also for one that was not asked for: a trial of an earlier search, or of another tuner.
        """
        at = self._positions(schedule)
        trial = self._asked.pop(at, None)
        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        if trial is not None:
            self._study.tell(trial, score, state=state)
        elif at in self._left:
            del self._left[at]
            params = dict(zip(self._values, at, strict=True))
            made = optuna.trial.create_trial(state=state, value=score, params=params, distributions=self._distributions)
            self._study.add_trial(made)

    @property
    def _distributions(self) -> dict[str, IntDistribution]:
        return {name: IntDistribution(0, len(values) - 1) for name, values in self._values.items()}

    def _positions(self, schedule: Mapping[str, int]) -> tuple[int, ...]:
        """The place of each value among its knob's; -1 for one that the space does not have."""
        return tuple(
            values.index(schedule[name]) if schedule.get(name) in values else -1
            for name, values in self._values.items()
        )

    def _sampler(self, name: str, seed: int) -> BaseSampler:
        if name == "random":
            return RandomSampler(seed)
        if name == "tpe":
            with warnings.catch_warnings():
                # Both options are called experimental; the version is pinned.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=8)
        return GeneticSampler(self._distributions, lambda genome: tuple(genome.values()) in self._left, seed=seed)
