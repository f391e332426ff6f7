import itertools
import random

import pytest

from secateur.compression.search.controllers import make_controller
from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.proposals import Proposals
from secateur.compression.search.space import Dimension, Space, candidate_line

from .tables import GOAL, SPACE, figures


def _proposals(lag, controllers=("genetic",), space=SPACE, **more):
    goals = [Goal((Objective("loss"),), (Limit("cost", 1.0 + n),)) for n in range(len(controllers))]
    made = [
        make_controller(name, space, goal, n) for n, (name, goal) in enumerate(zip(controllers, goals, strict=True))
    ]
    return Proposals(space, goals, made, 0, lag, **more)


@pytest.mark.parametrize("controllers", [("genetic",), ("reinforce", "genetic")])
def test_the_order_in_which_results_arrive_changes_nothing(controllers):
    def searched(shuffle):
        proposals, waiting = _proposals(4, controllers), []
        for _ in range(30):
            while (candidate := proposals.next()) is not None:
                waiting.append((len(proposals.candidates) - 1, candidate))
            assert len(waiting) <= 4
            number, candidate = waiting.pop(shuffle.randrange(len(waiting)))
            proposals.tell(number, figures(candidate))
        return proposals.candidates[:26]

    assert searched(random.Random(1)) == searched(random.Random(2))


def test_what_is_told_again_brings_a_search_back():
    whole = _proposals(2)
    for number in range(50):
        while whole.next() is not None:
            pass
        whole.tell(number, figures(whole.candidates[number]))
    again = _proposals(2)
    for number in range(20):
        again.tell(number, figures(whole.candidates[number]))
    for number in range(50):
        while again.next() is not None:
            pass
        again.tell(number, figures(again.candidates[number]))
    assert again.candidates == whole.candidates


def test_every_candidate_once_until_none_is_left():
    space = Space("few", (Dimension("a", (0, 1, 2)), Dimension("b", (0, 1, 2))), (lambda c: c["a"] != c["b"],))
    for name in ("random", "genetic", "reinforce", "tpe"):
        proposals = Proposals(space, [GOAL], [make_controller(name, space, GOAL)], first=[{"a": 2, "b": 0}])
        for number in itertools.count():
            if proposals.next() is None:
                break
            proposals.tell(number, {"loss": float(number), "cost": 1.0})
        assert proposals.exhausted and proposals.candidates[0] == {"a": 2, "b": 0}
        assert sorted(map(candidate_line, proposals.candidates)) == sorted(map(candidate_line, space.enumerate()))


def test_waits_for_what_it_depends_on():
    proposals = _proposals(2)
    assert proposals.next() and proposals.next() and proposals.next() is None
    proposals.tell(1, figures(proposals.candidates[1]))
    assert proposals.next() is None and not proposals.exhausted
    proposals.tell(0, None)
    assert proposals.next() is not None
