import collections

import numpy as np
import pytest

from secateur.compression.search.errors import SearchError
from secateur.compression.search.space import Dimension, Space, candidate_line

HEADS = Dimension("heads", (2, 4, 8))
RATE = Dimension("rate", (0.5, 0.7, 0.9), phase=1)
KIND = Dimension("kind", ("bcr", "tile", None))


def _few(candidate) -> bool:
    return not (candidate["heads"] == 8 and candidate["rate"] == 0.5)


SPACE = Space("small", (HEADS, RATE, KIND), (_few,))


def test_enumerates_what_the_rules_allow_once():
    found = [candidate_line(candidate) for candidate in SPACE.enumerate()]
    assert SPACE.size == 27 and len(found) == len(set(found)) == 24


def test_samples_all_that_is_allowed_alike():
    generator = np.random.default_rng(0)
    counts = collections.Counter(candidate_line(SPACE.sample(generator)) for _ in range(4800))
    assert len(counts) == 24 and min(counts.values()) > 140 and max(counts.values()) < 270


def test_a_mutation_changes_as_many_dimensions_as_asked_and_stays_allowed():
    generator = np.random.default_rng(1)
    start = {"heads": 4, "rate": 0.7, "kind": "bcr"}
    for changes in (1, 2):
        for _ in range(200):
            changed = SPACE.mutate(start, generator, changes)
            assert SPACE.allows(changed)
            assert sum(changed[name] != start[name] for name in start) == changes
    assert start == {"heads": 4, "rate": 0.7, "kind": "bcr"}


def test_codes_go_both_ways():
    for candidate in SPACE.enumerate():
        assert SPACE.decode(SPACE.encode(candidate)) == candidate


def test_spaces_add_up_and_their_key_tells_them_apart():
    other = Space("more", (Dimension("layers", (3, 6)),))
    assert (SPACE + other).size == 54
    assert not (SPACE + other).allows({"heads": 8, "rate": 0.5, "kind": None, "layers": 3})
    assert len({SPACE.key, other.key, (SPACE + other).key}) == 3


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Space("none", ()), "is empty"),
        (lambda: Space("twice", (HEADS, HEADS)), "two dimensions named 'heads'"),
        (lambda: Dimension("same", (1, 1)), "different values"),
        (lambda: Space("never", (HEADS,), (lambda candidate: False,)).sample(np.random.default_rng(0)), "refused"),
        (lambda: SPACE.encode({"heads": 2}), "in one of them only"),
        (lambda: SPACE.encode({"heads": 3, "rate": 0.5, "kind": None}), "found 3"),
    ],
)
def test_what_is_no_space_is_a_sentence(make, words):
    with pytest.raises(SearchError, match=words):
        make()


CONDITIONAL = Space(
    "conditional",
    (
        Dimension("layer", (True, False)),
        Dimension("rate", (0.0, 0.5, 0.9), when=("layer", (True,))),
        Dimension("scheme", ("4x1", "16x1"), when=("rate", (0.5, 0.9))),
    ),
)


def test_what_means_nothing_makes_no_other_candidate():
    found = list(CONDITIONAL.enumerate())
    # Without the layer one, dense one, and two schemes at two rates.
    assert len(found) == 1 + 1 + 4
    off = {"layer": False, "rate": 0.0, "scheme": "4x1"}
    assert CONDITIONAL.decode([1, 2, 1]) == CONDITIONAL.canonical({**off, "rate": 0.9, "scheme": "16x1"}) == off
    generator = np.random.default_rng(0)
    known = {candidate_line(candidate) for candidate in found}
    candidate = CONDITIONAL.sample(generator)
    for _ in range(200):
        changed = CONDITIONAL.mutate(candidate, generator)
        assert candidate_line(changed) in known and changed != candidate
        candidate = changed
    assert {candidate_line(CONDITIONAL.sample(generator)) for _ in range(200)} == known


def test_conditions_on_what_a_space_lacks_hold_and_later_ones_are_refused():
    alone = Space("alone", CONDITIONAL.dimensions[1:])
    assert len(list(alone.enumerate())) == 1 + 4
    with pytest.raises(SearchError, match="'scheme' depends on 'rate', which stands behind it"):
        Space("wrong", CONDITIONAL.dimensions[::-1])
