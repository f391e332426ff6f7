import dataclasses
import statistics

import numpy as np
import pytest

from secateur.compression.search.controllers import CONTROLLERS, make_controller
from secateur.compression.search.errors import SearchError
from secateur.compression.search.outcome import FAILED, outcome_of, ranks
from secateur.compression.search.proposals import Proposals
from secateur.compression.search.space import Space, candidate_line

from .tables import FRONT, GOAL, SPACE, figures

LEARNING = [name for name in CONTROLLERS if name != "random"]
_ALL = sorted(figures(c)["loss"] for c in SPACE.enumerate() if figures(c)["cost"] <= 2.0)


def _search(name, count, seed, goal=GOAL, space=SPACE, lag=1):
    if name == "gp":
        pytest.importorskip("scipy")
    proposals = Proposals(space, [goal], [make_controller(name, space, goal, seed)], seed, lag)
    for number in range(count):
        candidate = proposals.next()
        assert space.allows(candidate)
        proposals.tell(number, figures(candidate))
    return proposals.candidates


def _place(candidates):
    """How many candidates of the space are better than the best of these."""
    found = min((figures(c)["loss"] for c in candidates if figures(c)["cost"] <= 2.0), default=_ALL[-1])
    return sum(loss < found - 1e-12 for loss in _ALL)


# A proposal of the Gaussian process takes half a second: few, and so many that chance finds less.
_COUNT, _SEEDS = {"gp": 40}, {"gp": 1, "reinforce": 3}


@pytest.mark.parametrize("name", LEARNING)
def test_finds_better_candidates_than_chance(name):
    count, seeds = _COUNT.get(name, 120), range(_SEEDS.get(name, 7))
    found = [_place(_search(name, count, seed)) for seed in seeds]
    drawn = [_place(_search("random", count, seed)) for seed in range(15)]
    # Of 284 candidates that keep the limit.
    assert statistics.median(found) <= 0.4 * statistics.median(drawn), (found, drawn)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_same_calls_give_the_same_proposals(name):
    count = 12 if name == "gp" else 20
    assert _search(name, count, 3) == _search(name, count, 3)
    assert _search(name, count, 3) != _search(name, count, 4)


@pytest.mark.parametrize("name", [name for name in CONTROLLERS if name != "additive"])
def test_keeps_rules_takes_failures_and_finds_a_front(name):
    if name == "gp":
        pytest.importorskip("scipy")
    depends = dataclasses.replace(SPACE.dimensions[4], when=("d0", (2, 3, 4)))
    space = Space("ruled", (*SPACE.dimensions[:4], depends), (lambda c: (c["d0"] + c["d1"]) % 3 != 0,))
    controller = make_controller(name, space, FRONT, 0)
    proposals = Proposals(space, [FRONT], [controller])
    outcomes = []
    # A front by a Gaussian process takes seconds a proposal.
    count = 14 if name == "gp" else 40
    for number in range(count):
        candidate = proposals.next()
        assert space.allows(candidate) and candidate == space.canonical(candidate)
        found = None if number % 7 == 3 else figures(candidate)
        outcomes.append(outcome_of(FRONT, found))
        proposals.tell(number, found)
    assert len({candidate_line(c) for c in proposals.candidates}) == count
    assert outcomes.count(FAILED) == (2 if count == 14 else 6)
    assert all(rank > 0 for rank, o in zip(ranks(outcomes), outcomes, strict=True) if o.failed)


@pytest.mark.parametrize("name", CONTROLLERS)
def test_learns_of_candidates_that_others_proposed(name):
    if name == "gp":
        pytest.importorskip("scipy")
    random, controller = np.random.default_rng(0), make_controller(name, SPACE, GOAL, 0)
    for _ in range(12):
        candidate = SPACE.sample(random)
        controller.observe(candidate, outcome_of(GOAL, figures(candidate)))
    assert SPACE.allows(controller.propose())


def test_a_class_of_ones_own_is_named_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "first_of_all.py").write_text(
        "class First:\n"
        "    def __init__(self, space, goal, seed): self.space = space\n"
        "    def propose(self): return next(self.space.enumerate())\n"
        "    def observe(self, candidate, outcome): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_controller("first_of_all:First", SPACE, GOAL).propose() == dict.fromkeys(SPACE.decode([0] * 5), 0)
    for name, words in [("none", "there is no controller 'none'"), ("first_of_all:Second", "cannot be loaded")]:
        with pytest.raises(SearchError, match=words):
            make_controller(name, SPACE, GOAL)
