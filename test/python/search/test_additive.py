import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.compression.search.controllers.additive import Additive, best_sum, sums_in_order
from secateur.compression.search.errors import SearchError
from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.outcome import outcome_of
from secateur.compression.search.space import Dimension, Space

from .tables import FRONT, SPACE


def _sums(sizes, seed):
    random = np.random.default_rng(seed)
    # Few different values, so that equal sums occur.
    return [[random.integers(0, 6, size).astype(float) for size in sizes] for _ in range(2)]


_sizes = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_sizes, st.integers(0, 10_000), st.integers(0, 20))
def test_the_best_sum_is_that_of_enumeration(sizes, seed, most):
    losses, costs = _sums(sizes, seed)
    found = best_sum(losses, costs, most)
    all_sums = []
    for places in itertools.product(*(range(size) for size in sizes)):
        loss, cost = (sum(table[p] for table, p in zip(tables, places, strict=True)) for tables in (losses, costs))
        if cost <= most:
            all_sums.append(loss)
    if not all_sums:
        assert found is None
        return
    assert found is not None and found[0] == min(all_sums)
    assert sum(cost[p] for cost, p in zip(costs, found[1], strict=True)) <= most
    ordered = [
        sum(loss[p] for loss, p in zip(losses, places, strict=True)) for places in sums_in_order(losses, costs, most)
    ]
    assert ordered == sorted(all_sums)


def test_costs_that_only_just_fit_do_fit():
    assert best_sum([np.array([1.0, 0.0])] * 3, [np.array([0.0, 0.1])] * 3, 0.3) == (0.0, [1, 1, 1])


def test_finds_the_optimum_of_what_adds_up_at_once():
    losses, costs = _sums((4, 5, 3, 4), 3)
    space = Space("sums", tuple(Dimension(str(n), tuple(range(len(loss)))) for n, loss in enumerate(losses)))
    goal = Goal((Objective("loss"),), (Limit("cost", 6.0),))

    def figures(candidate):
        return {
            name: sum(table[candidate[str(n)]] for n, table in enumerate(tables))
            for name, tables in (("loss", losses), ("cost", costs))
        }

    controller = Additive(space, goal, seed=0)
    for _ in range(1 + 3 + 4 + 2 + 3):
        candidate = controller.propose()
        controller.observe(candidate, outcome_of(goal, figures(candidate)))
    all_figures = [figures(candidate) for candidate in space.enumerate()]
    assert figures(controller.propose())["loss"] == min(f["loss"] for f in all_figures if f["cost"] <= 6.0)


def test_choices_that_fail_are_kept_out():
    space = Space("fails", tuple(Dimension(name, (0, 1, 2)) for name in "ab"))
    goal = Goal((Objective("loss"),))
    controller = Additive(space, goal, seed=0)
    # A candidate, two of each dimension beside it, and the best sum.
    for _ in range(1 + 2 + 2 + 1):
        candidate = controller.propose()
        fails = candidate["b"] == 0
        controller.observe(
            candidate, outcome_of(goal, None if fails else {"loss": float(candidate["a"] + candidate["b"])})
        )
        last = candidate
    assert last["b"] != 0 and last["a"] == 0


def test_a_front_is_a_sentence():
    with pytest.raises(SearchError, match="one objective and at most one limit, found 2 and 0"):
        Additive(SPACE, FRONT)
    assert math.isinf(best_sum([np.array([math.inf])], [np.zeros(1)])[0])
