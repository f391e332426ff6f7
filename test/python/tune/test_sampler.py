"""The samplers on a layer whose every schedule was measured, and the genetic algorithm's operators."""

import statistics

import optuna
import pytest
from optuna.distributions import IntDistribution

from secateur.compiler.tune.genetic import GeneticSampler
from secateur.compiler.tune.proposals import Proposals
from secateur.compiler.tune.replay import GOOD_ENOUGH, efficiency, history

SPACE = [{"a": a, "b": b, "c": 1} for a in (1, 2, 4, 8) for b in (1, 3, 5) if a * b <= 24]


def test_the_genetic_algorithm_finds_nearly_the_best_in_a_fifth_of_the_trials(measured_table):
    found = efficiency(measured_table, "ga", range(31))
    assert found.candidates <= 200
    assert len(found.trials_needed) >= 11
    assert found.median_fraction <= 0.2
    assert statistics.median(found.reached) >= GOOD_ENOUGH


def test_the_genetic_algorithm_learns(measured_table):
    # The same budget without selection is a random search: worse over many seeds.
    part = int(0.2 * len(measured_table["candidates"]))

    def mean_score(sampler):
        return statistics.mean(
            statistics.mean(history(measured_table, sampler, seed, part)[part // 2 :]) for seed in range(31)
        )

    assert mean_score("ga") < 0.9 * mean_score("random")


@pytest.mark.parametrize("sampler", ["ga", "tpe", "random"])
def test_every_schedule_is_proposed_once(sampler):
    proposals = Proposals(SPACE, sampler, seed=5)
    proposed = []
    while (schedule := proposals.ask()) is not None:
        proposed.append(schedule)
        proposals.tell(schedule, None if schedule["a"] == 2 else 1.0 / schedule["a"])
    assert sorted(map(str, proposed)) == sorted(map(str, SPACE))


@pytest.mark.parametrize("sampler", ["ga", "tpe", "random"])
def test_what_is_known_is_not_proposed(sampler):
    proposals = Proposals(SPACE, sampler, seed=0)
    for schedule in SPACE[:-2]:
        proposals.tell(schedule, 1.0)
    proposals.tell({"a": 77, "b": 1, "c": 1}, 1.0)
    left = [proposals.ask(), proposals.ask()]
    assert sorted(map(str, left)) == sorted(map(str, SPACE[-2:]))
    assert proposals.ask() is None


@pytest.mark.parametrize("sampler", ["ga", "tpe", "random"])
def test_a_seed_fixes_the_proposals(sampler):
    def proposed(seed):
        proposals, found = Proposals(SPACE, sampler, seed), []
        for _ in range(9):
            schedule = proposals.ask()
            proposals.tell(schedule, schedule["a"] * schedule["b"])
            found.append(str(schedule))
        return found

    assert proposed(1) == proposed(1) != proposed(2)


def study_of(sampler, trials, objective):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return study


def objective(trial):
    return sum((trial.suggest_int(name, 0, 9) - 6) ** 2 for name in "xyz")


RANGES = {name: IntDistribution(0, 9) for name in "xyz"}


def test_it_is_a_sampler_for_any_study_of_integers():
    study = study_of(GeneticSampler(RANGES, seed=1), 80, objective)
    assert study.best_value <= 1


def test_only_legal_genomes_are_sampled():
    def legal(genome):
        return genome["x"] % 2 == 0

    study = study_of(GeneticSampler(RANGES, legal, seed=1), 60, objective)
    assert all(trial.params["x"] % 2 == 0 for trial in study.trials)


def test_no_genome_is_sampled_twice_while_there_are_others():
    study = study_of(GeneticSampler(RANGES, seed=3), 100, objective)
    assert len({tuple(sorted(t.params.items())) for t in study.trials}) == 100


def known(study, **values):
    params = dict(values)
    score = params.pop("score")
    study.add_trial(optuna.trial.create_trial(params=params, distributions=RANGES, value=score))


def test_children_are_made_of_the_best_whenever_these_were_found():
    study = optuna.create_study(sampler=GeneticSampler(RANGES, seed=2, population=3, mutation=0.0))
    for n in range(3):
        known(study, x=n, y=n, z=n, score=0.1)
    for n in range(3, 10):
        known(study, x=n, y=n, z=n, score=1.0)
    children = [study.ask(RANGES).params for _ in range(6)]
    assert {value for child in children for value in child.values()} == {0, 1, 2}
    assert any(len(set(child.values())) > 1 for child in children)


def test_mutation_mostly_takes_neighbours():
    study = optuna.create_study(sampler=GeneticSampler(RANGES, seed=2, population=1, mutation=1.0, leap=0.0))
    known(study, x=5, y=5, z=5, score=0.1)
    # All eight neighbours there are, before anything else.
    children = {tuple(study.ask(RANGES).params.values()) for _ in range(6)}
    assert all(value in (4, 6) for child in children for value in child)


def test_children_take_after_the_best():
    sampler = GeneticSampler(RANGES, seed=2, population=4, mutation=0.1)
    study = optuna.create_study(sampler=sampler)
    for n in range(10):
        known(study, x=0, y=n, z=n, score=1 + n / 100)
        known(study, x=9, y=n, z=n, score=n / 100)
    children = [study.ask(RANGES).params["x"] for _ in range(6)]
    assert children.count(9) >= 5
