"""Optuna's samplers: TPE, a Gaussian process, and NSGA-II.

A dimension is an integer, the place of its choice, since neighbouring choices are alike. Limits are constraints of the
sampler, never penalties, and so is that a candidate is allowed and does not fail. Sources: TPE,
Bergstra et al. 2011, and with constraints, Watanabe and Hutter 2022; NSGA-II, Deb et al. 2002.
"""

import importlib.util
import warnings

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import Trial

from ..errors import SearchError
from ..measurement import Goal
from ..outcome import Outcome
from ..space import Candidate, Space, candidate_line

# How many candidates that the rules refuse a sampler may propose before one is drawn at random.
_ATTEMPTS = 20


class Sampler:
    """A sampler of Optuna as a controller."""

    def __init__(self, space: Space, goal: Goal, seed: int = 0) -> None:
        self._space, self._limits = space, len(goal.limits)
        self._distributions = {d.name: IntDistribution(0, len(d.choices) - 1) for d in space.dimensions}
        self._random = np.random.default_rng(seed)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(seed)
        self._study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(goal.objectives))
        optuna.logging.set_verbosity(level)
        self._worst = [0.0] * len(goal.objectives)
        self._asked: dict[str, Trial] = {}

    def _sampler(self, seed: int) -> BaseSampler:
        raise NotImplementedError

    def propose(self) -> Candidate:
        """What the sampler asks for."""
        for _ in range(_ATTEMPTS):
            trial = self._study.ask(self._distributions)
            candidate = self._space.decode([trial.params[d.name] for d in self._space.dimensions])
            if self._space.allows(candidate):
                self._asked.setdefault(candidate_line(candidate), trial)
                return candidate
            # What the rules refuse is one more constraint, which a sampler learns to keep.
            self._tell(trial, Outcome(failed=True))
        return self._space.sample(self._random)

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """Tells the sampler; a candidate that it did not ask for is a trial with these values."""
        trial = self._asked.pop(candidate_line(candidate), None)
        if trial is None:
            places = self._space.encode(candidate)
            params = {d.name: place for d, place in zip(self._space.dimensions, places, strict=True)}
            self._study.enqueue_trial(params)
            trial = self._study.ask(self._distributions)
        self._tell(trial, outcome)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        trial.set_constraint("works", float(outcome.failed))
        for number, excess in enumerate(outcome.excesses or [0.0] * self._limits):
            trial.set_constraint(f"limit {number}", excess)
        if outcome.losses:
            self._worst = [max(a, b) for a, b in zip(self._worst, outcome.losses, strict=True)]
        # An optimiser without losses for a trial takes none of what its constraints say.
        self._study.tell(trial, list(outcome.losses or self._worst))


class Tpe(Sampler):
    """The tree-structured Parzen estimator, over all dimensions at once."""

    def _sampler(self, seed: int) -> BaseSampler:
        return TPESampler(seed=seed, multivariate=True)


class Gp(Sampler):
    """A Gaussian process. It needs SciPy (`pip install secateur[search]`)."""

    def _sampler(self, seed: int) -> BaseSampler:
        if importlib.util.find_spec("scipy") is None:
            raise SearchError("the controller 'gp' needs SciPy: pip install secateur[search]", usage=True)
        return GPSampler(seed=seed)


class Nsga2(Sampler):
    """NSGA-II, with a small population: a search has hundreds of candidates, not thousands."""

    POPULATION = 8

    def _sampler(self, seed: int) -> BaseSampler:
        return NSGAIISampler(seed=seed, population_size=self.POPULATION)
