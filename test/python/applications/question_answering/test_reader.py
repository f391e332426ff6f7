"""Answers out of long texts, against a search over PyTorch's logits."""

import itertools

import numpy as np
import pytest
import torch

from secateur.applications.question_answering.answer import Reader
from secateur.applications.question_answering.errors import AnswerError
from secateur.applications.question_answering.sentences import whole_words
from secateur.applications.question_answering.windows import Windows

TEXT = (
    "The old mill stands by the river. Its wheel was built in 1742 by Dr. Amos Field, a joiner from the next town! "
    "Since then three floods have come; none broke it. Who would have thought so? "
)
QUESTION = "Who built it?"
# No two windows of it are alike, so that none are equally good.
NUMBERED = " ".join(f"Mill {i} has {i * 37 % 101} wheels and stands {i * i} feet above the river." for i in range(12))


def best_by_pytorch(module, windows, context):
    """The best span of at most 30 tokens over all windows, by trying all."""
    found = []
    for i in range(len(windows)):
        window = windows[i]
        with torch.inference_mode():
            out = module(**{name: torch.from_numpy(array) for name, array in window.arrays.items()})
        start, end = (logits[0].numpy()[window.tokens] for logits in (out.start_logits, out.end_logits))
        for first in range(len(start)):
            for last in range(first, min(first + 30, len(end))):
                offsets = windows._offsets[window.first_token :]
                place = whole_words(context, int(offsets[first][0]), int(offsets[last][1]))
                if any(c.isalnum() for c in context[slice(*place)]):
                    found.append((float(start[first]) + float(end[last]), place))
    return max(found)


@pytest.mark.parametrize("context", [TEXT, NUMBERED, "Émile saw 😀 it. " + TEXT])
def test_the_best_answer_is_pytorchs(reader, qa_module, context):
    answers = reader.answer(context, QUESTION)
    windows = Windows(reader.model, QUESTION, context)
    assert answers.windows == len(windows) > 1
    score, place = best_by_pytorch(qa_module, windows, context)
    best = answers.answers[0]
    assert best.score == pytest.approx(score, rel=1e-4)
    assert (best.start, best.end) == place
    assert best.text == context[best.start : best.end]


def test_answers_are_in_order_apart_and_in_their_sentences(reader):
    answers = reader.answer(TEXT * 3, QUESTION, 10).answers
    assert len(answers) == 10
    scores = [a.score for a in answers]
    assert scores == sorted(scores, reverse=True)
    assert sum(a.probability for a in answers) <= 1 + 1e-9
    ratios = [np.log(a.probability / answers[0].probability) - (a.score - scores[0]) for a in answers]
    np.testing.assert_allclose(ratios, 0, atol=1e-6)
    places = sorted((a.start, a.end) for a in answers)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(places))
    for a in answers:
        assert a.sentence == (TEXT * 3)[a.sentence_start : a.sentence_end]
        assert a.sentence_start <= a.start < a.end <= a.sentence_end


def test_sessions_change_nothing_but_the_time(reader, bundle):
    with Reader(bundle) as alone:
        assert alone.answer(TEXT * 5, QUESTION).answers == reader.answer(TEXT * 5, QUESTION).answers


def test_every_answer_is_whole_in_some_window(reader):
    for question in (QUESTION, "who " * 9):
        windows = Windows(reader.model, question, TEXT * 3)
        covered = [(w.first_token, w.first_token + w.tokens.stop - w.tokens.start) for w in map(windows.__getitem__,
                   range(len(windows)))]  # fmt: skip
        assert covered[-1][1] == len(windows._ids)
        longest = min(30, covered[0][1] - covered[0][0])
        for first in range(len(windows._ids) - longest + 1):
            assert any(begin <= first and first + longest <= end for begin, end in covered)


def test_the_other_model_reads_the_same_windows(reader, pruned_bundle):
    answers = reader.answer(TEXT, QUESTION, compare=True)
    with Reader(pruned_bundle) as other:
        assert answers.compared.answers == other.answer(TEXT, QUESTION).answers
    assert answers.compared.windows == answers.windows
    assert answers.times_faster == answers.compared.ms_per_window / answers.ms_per_window
    assert reader.answer(TEXT, QUESTION).compared is None


def test_progress_counts_windows(reader):
    told = []
    answers = reader.answer(TEXT, QUESTION, progress=lambda done, total: told.append((done, total)))
    assert sorted(told)[-1] == (answers.windows, answers.windows)


@pytest.mark.parametrize(
    ("context", "question", "n_best", "sentence"),
    [
        (TEXT, " \n", 3, "the question is empty"),
        ("", QUESTION, 3, "the text is empty"),
        ("\u200b", QUESTION, 3, "the text holds no word"),
        (TEXT, "abcdef " * 20, 3, r"the question has 120 tokens; accepted are 1 to 30"),
        ("half \ud83d a face", QUESTION, 3, "the text holds U\\+D83D, half of a pair of surrogates"),
        (TEXT, QUESTION, 0, "expected 1 to 20 answers, found 0"),
    ],
)
def test_bad_input_is_a_sentence(reader, context, question, n_best, sentence):
    with pytest.raises(AnswerError, match=sentence):
        reader.answer(context, question, n_best)


def test_without_a_second_bundle_there_is_nothing_to_compare(bundle):
    with Reader(bundle) as alone, pytest.raises(AnswerError, match="no second bundle"):
        alone.answer(TEXT, QUESTION, compare=True)


def test_a_text_of_signs_alone_has_no_answer(reader):
    assert reader.answer("... !!! ---", QUESTION).answers == ()
