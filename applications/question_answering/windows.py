"""Cuts a long text into windows that fit the model, each after the whole question."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from .errors import AnswerError

if TYPE_CHECKING:
    from secateur.tasks.squad_spans import Span

    from .model import QuestionModel

# Of each window. It is the custom for SQuAD, and what the probabilities are taken over.
CANDIDATES = 20


@dataclasses.dataclass(frozen=True)
class Window:
    """One input of the model: int64 [1, tokens] by input name. `tokens` is where the text's tokens are in it;
    `first_token` is the first of them, counted in the whole text."""

    arrays: dict[str, np.ndarray]
    tokens: slice
    first_token: int


class Windows:
    """The windows of a question and a text, made one at a time: `len(windows)`, `windows[i]`.

    A window begins half of the model's tokens after the one before it, as in `secateur eval`, or less where the
    question is long: any answer of up to 30 tokens is whole in some window. Raises `AnswerError` for a question that
    leaves too little room, and for a text without a token.
    """

    def __init__(self, model: "QuestionModel", question: str, context: str) -> None:
        from secateur.tasks.squad_spans import LONGEST_ANSWER, window_starts

        self._context, self._model = context, model
        self._question = np.array(model.tokenizer.encode(question, add_special_tokens=False).ids, np.int64)
        accepted = model.template.longest_question(model.tokens)
        if not 0 < len(self._question) <= accepted:
            raise AnswerError(f"the question has {len(self._question)} tokens; accepted are 1 to {accepted}")
        encoded = model.tokenizer.encode(context, add_special_tokens=False)
        self._ids, self._offsets = np.array(encoded.ids, np.int64), np.array(encoded.offsets, np.int64).reshape(-1, 2)
        if not len(self._ids):
            raise AnswerError("the text holds no word that the model can read")
        self._room = model.template.room(len(self._question), model.tokens)
        stride = max(1, min(model.tokens // 2, self._room - LONGEST_ANSWER))
        self._starts = window_starts(len(self._ids), self._room, stride)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Window:
        begin, template = self._starts[index], self._model.template
        part = self._ids[begin : begin + self._room]
        start = template.text_start(len(self._question), self._model.tokens)
        arrays = template.join([(self._question, part)], self._model.tokens)
        return Window(arrays, slice(start, start + len(part)), begin)

    def spans(self, window: Window, start: np.ndarray, end: np.ndarray) -> "list[Span]":
        """The best spans of a window, in characters of the text. `start`, `end`: the model's logits, [tokens]."""
        from secateur.tasks.squad_spans import best_spans, to_characters

        spans = best_spans(start[window.tokens], end[window.tokens], CANDIDATES)
        return to_characters(spans, self._offsets, window.first_token, self._context)
