import math

import pytest

from secateur.compression.search.errors import SearchError
from secateur.compression.search.measurement import Goal, Limit, Objective


def test_an_objective_is_a_loss():
    assert Objective("f1", largest=True).loss({"f1": 80.0}) == -80.0
    assert Objective("latency_ms").loss({"latency_ms": 4.0, "f1": 80.0}) == 4.0


def test_a_limit_is_missed_by_a_fraction_of_it():
    assert Limit("latency_ms", 4.0).excess({"latency_ms": 5.0}) == pytest.approx(0.25)
    assert Limit("latency_ms", 4.0).excess({"latency_ms": 4.0}) == 0.0
    assert Limit("f1", 80.0, least=True).excess({"f1": 60.0}) == pytest.approx(0.25)
    assert Limit("f1", 80.0, least=True).excess({"f1": 88.0}) < 0
    assert Limit("zeros", 0.0).excess({"zeros": 3.0}) == 3.0


def test_a_goal_names_what_decides():
    goal = Goal((Objective("error"),), (Limit("latency_ms", 4.0),))
    assert goal.figures == {"error", "latency_ms"}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Goal(()), "at least one objective"),
        (lambda: Objective(""), "names a figure"),
        (lambda: Limit("latency_ms", math.nan), "is a number, found nan"),
    ],
)
def test_what_is_no_goal_is_a_sentence(make, words):
    with pytest.raises(SearchError, match=words):
        make()
