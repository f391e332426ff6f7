import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.outcome import FAILED, Outcome, best_first, crowding, outcome_of, ranks

_small = st.integers(0, 3).map(float)


def _outcomes(objectives):
    known = st.builds(Outcome, st.tuples(*[_small] * objectives), st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    given_up = st.builds(Outcome, st.just(()), st.tuples(st.sampled_from([0.5, 2.0])))
    return st.lists(st.one_of(known, given_up, st.just(FAILED)), max_size=12)


def _is_better(one, other):
    """Deb's comparison, said in another way."""
    if one.failed or other.failed:
        return other.failed and not one.failed
    a, b = (sum(e for e in o.excesses if e > 0) for o in (one, other))
    if a or b:
        return a < b
    return all(x <= y for x, y in zip(one.losses, other.losses, strict=True)) and one.losses != other.losses


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_outcomes(1) | _outcomes(2) | _outcomes(3))
def test_ranks_are_those_of_brute_force(outcomes):
    left, rank, wanted = set(range(len(outcomes))), 0, {}
    while left:
        front = {n for n in left if not any(_is_better(outcomes[m], outcomes[n]) for m in left)}
        wanted |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    assert ranks(outcomes) == [wanted[n] for n in range(len(outcomes))]
    order = best_first(outcomes)
    assert sorted(order) == list(range(len(outcomes)))
    assert [wanted[n] for n in order] == sorted(wanted.values())


def test_of_one_front_the_lonely_come_first():
    places = [(0.0, 10.0), (1.0, 9.0), (1.5, 8.5), (2.0, 8.0), (6.0, 3.0), (10.0, 0.0)]
    outcomes = [Outcome(losses) for losses in places]
    assert crowding(outcomes)[2] == pytest.approx(0.2)
    assert crowding(outcomes)[0] == crowding(outcomes)[5] == math.inf
    assert best_first(outcomes)[:3] == [0, 5, 4]


def test_figures_become_outcomes():
    goal = Goal((Objective("f1", largest=True),), (Limit("latency_ms", 4.0),))
    assert outcome_of(goal, {"f1": 80.0, "latency_ms": 3.0}) == Outcome((-80.0,), (-0.25,))
    late = outcome_of(goal, {"latency_ms": 5.0})
    assert late.violation == 0.25 and not late.losses and not late.feasible
    assert not outcome_of(goal, {"latency_ms": 3.0}).feasible
    for wrong in (None, {"f1": math.nan, "latency_ms": 3.0}, {"f1": 1.0, "latency_ms": math.nan}, {"f1": -math.inf}):
        assert outcome_of(goal, wrong) == FAILED


def test_a_failure_is_worse_than_any_figure():
    assert Outcome((5.0,), (100.0,)).dominates(FAILED)
    assert not FAILED.dominates(Outcome((), (100.0,)))
    assert Outcome((5.0,), (0.0,)).dominates(Outcome((1.0,), (0.1,)))
