"""Exact match and F1 as SQuAD v1.1 defines them (Rajpurkar et al. 2016, section 6.1).

Both compare answers after lower-casing, removing ASCII punctuation and the articles a, an, the, and joining what is
left by single spaces. A question's score is the best over its reference answers.
"""

import collections
import re
import string
from collections.abc import Mapping, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Whole words only: "a" inside "banana" stays. Python's \b counts letters of every script as parts of words.
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(answer: str) -> str:
    """The answer as it is compared: lower case, no ASCII punctuation, no English articles, single spaces."""
    lowered = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", lowered).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the normalised prediction is one of the normalised references, else 0.0."""
    found = normalise(prediction)
    return float(any(found == normalise(reference) for reference in references))


def f1(prediction: str, references: Sequence[str]) -> float:
    """The best F1 (0..1) of the prediction's words against one reference's; a word counts as often as in both."""
    return max((_word_f1(normalise(prediction).split(), normalise(r).split()) for r in references), default=0.0)


def _word_f1(predicted: list[str], wanted: list[str]) -> float:
    same = sum((collections.Counter(predicted) & collections.Counter(wanted)).values())
    if same == 0:
        # As the official script has it: two answers of no words at all share no word either.
        return 0.0
    precision, recall = same / len(predicted), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def squad_scores(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """`{"f1": percent, "exact_match": percent}`, the means over `references`: question id -> its reference answers.

    `predictions`: question id -> answer; a question without one counts as wrong, as in the official script.
    """
    if not references:
        raise ValueError("expected at least one question to score, found none")
    given = [(predictions[key], answers) for key, answers in references.items() if key in predictions]
    count = len(references)
    return {
        "f1": 100.0 * sum(f1(prediction, answers) for prediction, answers in given) / count,
        "exact_match": 100.0 * sum(exact_match(prediction, answers) for prediction, answers in given) / count,
    }
