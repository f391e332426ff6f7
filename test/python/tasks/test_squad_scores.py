"""Exact match and F1 against pairs whose scores were worked out by hand from the published definition."""

import pytest

from secateur.tasks.squad_scores import exact_match, f1, normalise, squad_scores


@pytest.mark.parametrize(
    ("prediction", "references", "exact", "overlap"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1, 1),
        ("the Denver Broncos", ["Denver Broncos"], 1, 1),
        ("denver broncos.", ["An  Denver\tBroncos"], 1, 1),
        ("Broncos", ["Denver Broncos"], 0, 2 / 3),
        ("Denver Broncos won", ["Denver Broncos"], 0, 0.8),
        ("Broncos", ["Denver Broncos", "The Broncos!"], 1, 1),
        ("gold", ["silver"], 0, 0),
        ("", ["silver"], 0, 0),
        ("Theatre", ["atre"], 0, 0),
        ("a banana", ["banana"], 1, 1),
        ("24-10", ["24\u201310"], 0, 0),
        ("24-10", ["2410"], 1, 1),
        ("\u201cgold\u201d", ["gold"], 0, 0),
        ("Beyoncé", ["beyoncé"], 1, 1),
        ("Beyoncé", ["Beyonce"], 0, 0),
        ("thé vert", ["vert"], 0, 2 / 3),
        ("US$5", ["US 5", "us5"], 1, 1),
        ("to be or not to be", ["to be"], 0, 0.5),
        ("the", ["a"], 1, 0),
    ],
)
def test_pairs(prediction, references, exact, overlap):
    assert exact_match(prediction, references) == exact
    assert f1(prediction, references) == pytest.approx(overlap)


def test_what_is_compared():
    assert normalise("  The U.S.A. (an ally),\nof a friend ") == "usa ally of friend"
    # An article is a word of its own after punctuation is gone: "the-a" has become one word.
    assert normalise("the-a") == "thea"
    # Dashes beyond ASCII stay, and what an article leaves between them is a space.
    assert normalise("north\u2014a\u2014south") == "north\u2014 \u2014south"


def test_means_are_percent_and_a_question_without_answer_is_wrong():
    references = {"1": ["Paris"], "2": ["New York", "York"], "3": ["x"], "4": ["y"]}
    found = squad_scores({"1": "paris", "2": "in York", "5": "z"}, references)
    assert found == {"f1": pytest.approx(100 * (1 + 2 / 3) / 4), "exact_match": 25.0}
    with pytest.raises(ValueError, match="at least one question"):
        squad_scores({}, {})
