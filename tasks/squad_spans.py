"""Windows over a text that is longer than the model's input, and the best answers over all of them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .task import Arrays, TaskError
from .token_cache import rust_tokenizer

LONGEST_ANSWER = 30
"""Tokens of the longest answer that is looked for, as usual for SQuAD."""


@dataclasses.dataclass(frozen=True)
class PairTemplate:
    """How a tokenizer joins a question and a text: special tokens before, between and behind them.

    `before`, `between`, `behind`: token ids; `types`: token types of the question with what is around it, and of the
    text with what is behind it; `padding`: the id that fills up; `names`: the inputs that the model is given.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    behind: tuple[int, ...]
    types: tuple[int, int]
    padding: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer: Any) -> "PairTemplate":
        """Reads it from how the tokenizer joins two words. Raises `TaskError` for a tokenizer that is not fast."""
        encoded = rust_tokenizer(tokenizer).encode("a", "b")
        places = [i for i, part in enumerate(encoded.sequence_ids) if part == 0]
        texts = [i for i, part in enumerate(encoded.sequence_ids) if part == 1]
        if not places or not texts:
            raise TaskError("the tokenizer cannot join a question and a text")
        padding = tokenizer.pad_token_id
        names = ["input_ids", "attention_mask"]
        # Models of a single token type have no table for it; their tokenizers name no such input.
        names += ["token_type_ids"] if "token_type_ids" in tokenizer.model_input_names else []
        return cls(
            tuple(encoded.ids[: places[0]]),
            tuple(encoded.ids[places[-1] + 1 : texts[0]]),
            tuple(encoded.ids[texts[-1] + 1 :]),
            (encoded.type_ids[places[0]], encoded.type_ids[texts[0]]),
            0 if padding is None else padding,
            tuple(names),
        )

    def longest_question(self, window: int) -> int:
        """Tokens that are left of a long question: half of the window, so that the text has room too."""
        return (window - self._special) // 2

    def room(self, question: int, window: int) -> int:
        """Tokens of text that fit into `window` beside a question of `question` tokens. Raises `TaskError`."""
        left = window - self._special
        if left < 2:
            raise TaskError(f"expected a window of {self._special + 2} tokens or more, found {window}", usage=True)
        return left - min(question, self.longest_question(window))

    def text_start(self, question: int, window: int) -> int:
        """Where the text begins in the input."""
        return len(self.before) + min(question, self.longest_question(window)) + len(self.between)

    @property
    def _special(self) -> int:
        return len(self.before) + len(self.between) + len(self.behind)

    def join(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], window: int, width: int | None = None) -> Arrays:
        """Model inputs, int64 [pairs, width] by name, of pairs of question and text ids, which must fit.

        `width`: what they are padded to; by default the longest of them.
        """
        questions = [question[: self.longest_question(window)] for question, _ in pairs]
        lengths = [len(q) + len(text) + self._special for q, (_, text) in zip(questions, pairs, strict=True)]
        shape = (len(pairs), width or max(lengths))
        ids = np.full(shape, self.padding, np.int64)
        mask, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, (question, (_, text), length) in enumerate(zip(questions, pairs, lengths, strict=True)):
            first = len(self.before) + len(question)
            start = first + len(self.between)
            ids[row, : len(self.before)] = self.before
            ids[row, len(self.before) : first] = question
            ids[row, first:start] = self.between
            ids[row, start : start + len(text)] = text
            ids[row, start + len(text) : length] = self.behind
            mask[row, :length] = 1
            types[row, :start], types[row, start:length] = self.types
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: arrays[name] for name in self.names if name in arrays}


def window_starts(tokens: int, room: int, stride: int) -> list[int]:
    """First tokens of the windows of `room` tokens that cover a text, each `stride` tokens after the one before.

    The last one is moved back, so that it is full: more text around an answer costs nothing where inputs are padded.
    """
    if stride < 1:
        raise TaskError(f"expected a stride of 1 or more, found {stride}")
    last = max(tokens - room, 0)
    # A stride beyond the window would leave tokens out.
    return [*range(0, last, min(stride, room)), last]


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """An answer: its `score` (start logit + end logit), its first character, the one after its last, its window."""

    score: float
    start: int
    end: int
    window: int = 0


def best_spans(
    start_logits: np.ndarray, end_logits: np.ndarray, n_best: int = 1, longest: int = LONGEST_ANSWER
) -> list[tuple[int, int, float]]:
    """The `n_best` spans of a window as (first token, last token, score), best first.

    The logits, [tokens] each, are those of the text's tokens. A span has 1 to `longest` tokens; its score is the sum
    of its first token's start logit and its last token's end logit. Of equal scores the earlier and shorter is first.
    """
    tokens = len(start_logits)
    width = min(longest, tokens)
    if width < 1:
        return []
    padded = np.concatenate([end_logits.astype(np.float64), np.full(width - 1, -np.inf)])
    ends = np.lib.stride_tricks.sliding_window_view(padded, width)
    scores = (start_logits.astype(np.float64)[:, None] + ends).reshape(-1)
    # The first maximum is what a stable sort begins with, at a fraction of its cost.
    chosen = [scores.argmax()] if n_best == 1 else np.argsort(-scores, kind="stable")[:n_best]
    return [(int(i // width), int(i // width + i % width), float(scores[i])) for i in chosen if np.isfinite(scores[i])]


def to_characters(
    spans: Iterable[tuple[int, int, float]], offsets: np.ndarray, first_token: int, text: str, window: int = 0
) -> list[Span]:
    """Spans of a window as characters of the text, without white space at their ends.

    `offsets`: of every token of the text; `first_token`: where the window begins in it. Some tokenizers count the
    space before a word to it.
    """
    found = []
    for first, last, score in spans:
        start, end = int(offsets[first_token + first, 0]), int(offsets[first_token + last, 1])
        inner = text[start:end]
        start += len(inner) - len(inner.lstrip())
        end = start + len(inner.strip())
        if start < end:
            found.append(Span(score, start, end, window))
    return found


def merge_spans(spans: Iterable[Span], n_best: int = 1) -> list[Span]:
    """The `n_best` different answers over all windows, best first; one found in several windows counts once."""
    best: dict[tuple[int, int], Span] = {}
    for span in spans:
        known = best.get((span.start, span.end))
        if known is None or span.score > known.score:
            best[span.start, span.end] = span
    return sorted(best.values(), key=lambda span: (-span.score, span.start, span.end))[:n_best]
