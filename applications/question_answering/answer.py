"""Finds the answers to a question in a text, with a bundle, however long the text is."""

import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import AnswerError
from .fair_pool import FairPool, Job, Step
from .model import QuestionModel
from .sentences import sentence_around, whole_words
from .windows import CANDIDATES, Windows

if TYPE_CHECKING:
    from secateur.tasks.squad_spans import Span

MOST_ANSWERS = 20

LogitsOf = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""Start and end logits [tokens] of a window: int64 [1, tokens] by input name. A `Session` is one."""

Progress = Callable[[int, int], None]
"""Called with the windows that are done and their number, from any thread."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A piece of the text: `text` is `context[start:end]`, `sentence` is `context[sentence_start:sentence_end]`.

    `score` is the sum of the start and the end logit; `probability` (0..1) its softmax over the best candidates of the
    text. That the text holds no answer is not modelled: SQuAD v1.1 has no such questions.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float
    sentence: str
    sentence_start: int
    sentence_end: int


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one model made of a text: `answers`, best first; its time per window (median) and for all `windows`."""

    answers: tuple[Answer, ...]
    windows: int
    ms_per_window: float
    model_ms: float


@dataclasses.dataclass(frozen=True)
class Answers(Reading):
    """`compared`: the same by the other model, which read each window in turns with the first. `total_ms`: from the
    question to the answers, with everything."""

    total_ms: float = 0.0
    compared: Reading | None = None

    @property
    def times_faster(self) -> float | None:
        """How many times longer the other model took for a window, by medians of windows read in turns."""
        return None if self.compared is None else self.compared.ms_per_window / self.ms_per_window


class Pending:
    """Answers that are being looked for: `job.done` tells when they are there."""

    def __init__(self, context: str, question: str, n_best: int, models: int, progress: Progress | None) -> None:
        self._context, self._question, self._n_best = context, question, n_best
        self._found: list[list[Span]] = [[] for _ in range(models)]
        self._seconds: list[list[float]] = [[] for _ in range(models)]
        self._progress = progress
        self._began = time.perf_counter()
        self._windows = 0
        self.job: Job

    def tokenise(self, model: QuestionModel) -> Iterable[Step]:
        """The first step: the windows of the text, each a further step."""
        windows = Windows(model, self._question, self._context)
        self._windows = len(windows)
        return [functools.partial(self._read, windows, i) for i in range(len(windows))]

    def _read(self, windows: Windows, index: int, sessions: Sequence[LogitsOf]) -> None:
        window = windows[index]
        # In turns, and each first as often as the other: what slows the machine down slows both.
        order = range(len(self._found)) if index % 2 else reversed(range(len(self._found)))
        for which in order:
            began = time.perf_counter()
            start, end = sessions[which](window.arrays)
            self._seconds[which].append(time.perf_counter() - began)
            self._found[which] += windows.spans(window, start, end)
        if self._progress is not None:
            self._progress(len(self._seconds[0]), self._windows)

    def readings(self) -> list[Reading]:
        """What each model made of the text, once all steps are done."""
        return [self._reading(which) for which in range(len(self._found))]

    def result(self) -> Answers:
        """The answers, once the job is done."""
        readings = self.readings()
        total_ms = 1e3 * (time.perf_counter() - self._began)
        fields = {f.name: getattr(readings[0], f.name) for f in dataclasses.fields(Reading)}
        return Answers(**fields, total_ms=total_ms, compared=readings[1] if len(readings) > 1 else None)

    def _reading(self, which: int) -> Reading:
        seconds = self._seconds[which]
        return Reading(
            _best(self._context, self._found[which], self._n_best),
            self._windows,
            1e3 * statistics.median(seconds),
            1e3 * sum(seconds),
        )


def read_in_turns(
    model: QuestionModel, sessions: Sequence[LogitsOf], context: str, question: str, n_best: int = 1
) -> list[Reading]:
    """What each of `sessions` answers, on the calling thread; each window goes through all of them before the next.

    `model` gives tokenizer and window size; the sessions may be other models of it, in other engines. Raises
    `AnswerError`.
    """
    pending = Pending(context, question, n_best, len(sessions), None)
    for step in pending.tokenise(model):
        step(sessions)
    return pending.readings()


class Reader:
    """Answers questions with a bundle. Several threads may ask; every session takes one core.

    `compare`: a second bundle of the same tokenizer and window, for the same questions on demand. `capacity`: questions
    that may be unfinished at a time. Raises `AnswerError` for bundles of another kind, and `BundleError`.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        compare: str | os.PathLike[str] | None = None,
        *,
        sessions: int = 1,
        capacity: int | None = None,
    ) -> None:
        self.model = QuestionModel(bundle)
        self.compared = QuestionModel(compare) if compare is not None else None
        models = [self.model, *([self.compared] if self.compared else [])]
        for other in models[1:]:
            if (other.tokens, other.tokenizer_sha256) != (self.model.tokens, self.model.tokenizer_sha256):
                raise AnswerError(
                    f"'{bundle}' and '{compare}' cannot be compared: they have other tokenizers or windows "
                    f"({self.model.tokens} and {other.tokens} tokens); expected two bundles of one model"
                )
        self._pool = FairPool([[m.session() for m in models] for _ in range(sessions)], capacity)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the sessions. Questions that are not answered yet are cancelled."""
        self._pool.close()

    @property
    def sessions(self) -> int:
        """Windows that are read at a time."""
        return self._pool.sessions

    @property
    def unfinished(self) -> int:
        """Questions that are being answered or wait."""
        return self._pool.unfinished

    def answer(
        self, context: str, question: str, n_best: int = 3, *, compare: bool = False, progress: Progress | None = None
    ) -> Answers:
        """The `n_best` answers, which do not overlap, best first.

        Raises `AnswerError` for an empty question or text, and for a question that is too long for the window.
        """
        pending = self.submit(context, question, n_best, compare=compare, progress=progress)
        try:
            pending.job.done.result()
        except KeyboardInterrupt:
            pending.job.cancel()
            raise
        return pending.result()

    def submit(
        self,
        context: str,
        question: str,
        n_best: int = 3,
        *,
        compare: bool = False,
        progress: Progress | None = None,
        time_limit_seconds: float | None = None,
    ) -> Pending:
        """Begins to look for answers; `result()` has them once `job.done` is resolved.

        Raises what `answer` raises, here or through `job.done`, and `BusyError` where too many questions wait.
        """
        for name, text in (("question", question), ("text", context)):
            if not text.strip():
                raise AnswerError(f"the {name} is empty")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                found = f"U+{ord(text[error.start]):04X}"
                raise AnswerError(f"the {name} holds {found}, half of a pair of surrogates and no character") from None
        if not 1 <= n_best <= MOST_ANSWERS:
            raise AnswerError(f"expected 1 to {MOST_ANSWERS} answers, found {n_best}")
        if compare and self.compared is None:
            raise AnswerError("there is no second bundle to compare with")
        pending = Pending(context, question, n_best, 2 if compare else 1, progress)

        def first(sessions: Any) -> Iterable[Step]:
            return pending.tokenise(self.model)

        pending.job = self._pool.submit(first, time_limit_seconds)
        return pending


def _best(context: str, found: Iterable["Span"], n_best: int) -> tuple[Answer, ...]:
    """The best that do not overlap: windows overlap, so that most candidates are found twice, and variants of the
    best answer (an article more, a word less) would fill the list."""
    chosen: list[tuple[float, int, int]] = []
    for span in sorted(found, key=lambda s: (-s.score, s.start, s.end)):
        start, end = whole_words(context, span.start, span.end)
        # A full stop answers nothing.
        if not any(c.isalnum() for c in context[start:end]):
            continue
        if not any(start < other_end and other_start < end for _, other_start, other_end in chosen):
            chosen.append((span.score, start, end))
            if len(chosen) == CANDIDATES:
                break
    if not chosen:
        return ()
    weights = np.exp(np.array([score for score, _, _ in chosen]) - chosen[0][0])
    answers = []
    for (score, start, end), probability in zip(chosen[:n_best], weights / weights.sum(), strict=False):
        first, last = sentence_around(context, start, end)
        answers.append(
            Answer(context[start:end], start, end, score, float(probability), context[first:last], first, last)
        )
    return tuple(answers)
