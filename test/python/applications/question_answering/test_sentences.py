"""The sentence around an answer, and whole words."""

import pytest

from secateur.applications.question_answering.sentences import LONGEST, sentence_around, whole_words


@pytest.mark.parametrize(
    ("text", "answer", "sentence"),
    [
        ("One ends. Two is here! Three?", "is", "Two is here!"),
        ("One ends. Two is here! Three?", "One", "One ends."),
        ("One ends. Two is here! Three?", "Three", "Three?"),
        ("We met Dr. Amos Field. He left.", "Amos", "We met Dr. Amos Field."),
        ("In the U.S. Army he served. Then he left.", "served", "In the U.S. Army he served."),
        ("It costs 3.50 euros. Cheap.", "euros", "It costs 3.50 euros."),
        ('"Stop!" he said. "Why?" she asked.', "asked", '"Why?" she asked.'),
        ("A heading\n\nThe body is\nhard-wrapped. End.", "body", "The body is\nhard-wrapped."),
        ("no full stop at all", "stop", "no full stop at all"),
        ("Ends. The answer. Has two sentences. More.", "answer. Has", "The answer. Has two sentences."),
        ("Ends... And goes on. Yes.", "goes", "And goes on."),
    ],
)
def test_sentence(text, answer, sentence):
    start = text.index(answer)
    first, last = sentence_around(text, start, start + len(answer))
    assert text[first:last] == sentence


def test_a_text_without_full_stops_is_cut_between_words():
    text = "word " * 1000 + "answer " + "word " * 1000
    start = text.index("answer")
    first, last = sentence_around(text, start, start + 6)
    assert start - first <= LONGEST and last - start - 6 <= LONGEST
    assert set(text[first:last].split()) == {"word", "answer"}


def test_whole_words():
    text = "Buzz Aldrin, 21.5 kg"
    assert text[slice(*whole_words(text, 5, 9))] == "Aldrin"
    assert text[slice(*whole_words(text, 7, 11))] == "Aldrin"
    assert text[slice(*whole_words(text, 13, 15))] == "21"
    assert text[slice(*whole_words(text, 0, 4))] == "Buzz"
