"""A genetic algorithm as a sampler for Optuna.

A genome is a value for each knob. The population is the best of what was measured so far (so the best is never lost:
elitism); two parents are drawn by tournaments; a child takes each value from either (uniform crossover), and then each
of its values may mutate, mostly to a neighbouring one. Source: GRIM, section 5.3 (schedules by a genetic algorithm);
the operators are the textbook's, the population is a steady-state one so that a search can stop after any trial.

The sampler has no state but the study's trials: a search that was resumed goes on as if it had never stopped.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

Genome = dict[str, int]

# How often a child that is not legal, or was tried, is drawn again.
_ATTEMPTS = 50


class GeneticSampler(BaseSampler):
    """Samples genomes of `space`, a range of integers for each knob; those for which `legal` holds.

    The first `population` trials are random. `mutation` is the probability that a value changes, `leap` that it then
    changes to any value and not to a neighbour, `tournament` the number of genomes that a parent is the best of.
    """

    def __init__(
        self,
        space: Mapping[str, IntDistribution],
        legal: Callable[[Genome], bool] = lambda genome: True,
        *,
        seed: int = 0,
        population: int = 4,
        tournament: int = 2,
        mutation: float = 0.35,
        leap: float = 0.2,
    ) -> None:
        self._space = dict(space)
        self._values = {name: range(kind.low, kind.high + 1) for name, kind in space.items()}
        self._legal, self._seed = legal, seed
        self._population, self._tournament = population, tournament
        self._mutation, self._leap = mutation, leap

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All knobs at once."""
        return dict(self._space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never called for a knob of the space: `sample_relative` gives all of them."""
        raise ValueError(f"'{param_name}' is no knob of the space")

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A random genome while the population grows, then a child of two parents."""
        random = np.random.default_rng((self._seed, trial.number))
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED))
        seen = {tuple(t.params.get(name) for name in self._space) for t in trials}
        scored = [(t.value, t.number, t.params) for t in trials if t.value is not None]
        parents = [genome for _, _, genome in sorted(scored, key=lambda s: s[:2])[: self._population]]
        bred = _ATTEMPTS if len(scored) >= self._population else 0
        for attempt in range(bred + _ATTEMPTS):
            # Parents that are alike run out of children.
            child = attempt < bred
            genome = self._mutated(self._crossed(parents, random), random) if child else self._random(random)
            if self._legal(genome) and tuple(genome.values()) not in seen:
                break
        return genome

    def _random(self, random: np.random.Generator) -> Genome:
        return {name: int(random.choice(values)) for name, values in self._values.items()}

    def _parent(self, ranked: list[Genome], random: np.random.Generator) -> Genome:
        return ranked[int(random.integers(len(ranked), size=self._tournament).min())]

    def _crossed(self, ranked: list[Genome], random: np.random.Generator) -> Genome:
        mother, father = self._parent(ranked, random), self._parent(ranked, random)
        return {name: (mother if random.random() < 0.5 else father)[name] for name in self._space}

    def _mutated(self, genome: Genome, random: np.random.Generator) -> Genome:
        return {name: self._mutated_value(name, value, random) for name, value in genome.items()}

    def _mutated_value(self, name: str, value: int, random: np.random.Generator) -> int:
        values = self._values[name]
        if len(values) == 1 or random.random() >= self._mutation:
            return value
        if random.random() < self._leap:
            return int(random.choice(values))
        return min(max(value + (1 if random.random() < 0.5 else -1), values[0]), values[-1])
