"""Extractive question answering on SQuAD v1.1."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .predict import batch_of, check_window
from .squad_data import FILES, TokenisedSquad, read_squad, squad_file, tokenised_squad
from .squad_scores import squad_scores
from .squad_spans import PairTemplate, Span, best_spans, merge_spans, to_characters, window_starts
from .task import Arrays, Predict, Progress, Scores, Task, check_outputs, spread

if TYPE_CHECKING:
    from .squad_training import SquadTraining


class Squad(Task):
    """SQuAD v1.1: F1 and exact match of the best span over all windows of a paragraph."""

    name = "squad"
    metric = "f1"
    model_class = "AutoModelForQuestionAnswering"
    outputs = ("start_logits", "end_logits")
    splits = tuple(sorted(FILES))

    def training_dataset(
        self,
        tokenizer: Any,
        *,
        window: int = 128,
        seed: int = 0,
        limit: int | None = None,
        without_answer: float = 0.0,
    ) -> "SquadTraining":
        """Windows cut at random around the first reference answer, anew in each epoch.

        `without_answer`: the fraction of windows that do not hold the answer.
        """
        from .squad_training import SquadTraining

        squad = self._tokenised("train", tokenizer)
        chosen = spread(len(squad), limit)
        return SquadTraining(squad, chosen, PairTemplate.of(tokenizer), window, seed, without_answer)

    def calibration_inputs(
        self, tokenizer: Any, *, samples: int = 256, window: int = 128, seed: int = 0
    ) -> list[Arrays]:
        """Training windows of `samples` questions drawn by `seed`."""
        training = self.training_dataset(tokenizer, window=window, seed=seed)
        drawn = np.random.default_rng(seed).choice(len(training), min(samples, len(training)), replace=False)
        return [training.inputs(drawn[i : i + 32]) for i in range(0, len(drawn), 32)]

    def evaluate(
        self,
        predict: Predict,
        tokenizer: Any,
        *,
        split: str = "dev",
        window: int = 128,
        stride: int = 64,
        limit: int | None = None,
        batch: int | None = None,
        progress: Progress | None = None,
    ) -> Scores:
        """F1 and exact match in percent. `predictions` is what the official script reads: id -> answer."""
        began = time.perf_counter()
        check_window(predict, window)
        path = self._file(split)
        squad, data = tokenised_squad(path, tokenizer, self.progress), read_squad(path)
        chosen = spread(len(squad), limit)
        windows = Windows(squad, chosen, PairTemplate.of(tokenizer), window, stride)
        candidates: dict[int, list[Span]] = {int(index): [] for index in chosen}
        model_seconds, done = 0.0, 0
        for rows in windows.batches(batch_of(predict, batch)):
            arrays = windows.inputs(rows)
            started = time.perf_counter()
            outputs = predict(arrays)
            model_seconds += time.perf_counter() - started
            check_outputs(self, outputs, len(rows))
            for row, starts, ends in zip(rows, outputs["start_logits"], outputs["end_logits"], strict=True):
                question, first, where = windows.place(row)
                spans = best_spans(starts[where], ends[where])
                context = data.contexts[data.context_of[question]]
                candidates[question] += to_characters(spans, squad.offsets(question), first, context, row)
            done += len(rows)
            if progress is not None:
                progress(done, len(windows))
        answers = {}
        for question, spans in candidates.items():
            best = merge_spans(spans)
            context = data.contexts[data.context_of[question]]
            answers[data.ids[question]] = context[best[0].start : best[0].end] if best else ""
        references = {data.ids[question]: [text for text, _ in data.answers[question]] for question in candidates}
        metrics = squad_scores(answers, references)
        seconds = time.perf_counter() - began
        return Scores(self.name, split, metrics, len(chosen), len(windows), seconds, model_seconds, answers)

    def _tokenised(self, split: str, tokenizer: Any) -> TokenisedSquad:
        return tokenised_squad(self._file(split), tokenizer, self.progress)

    def _file(self, split: str) -> Path:
        self.check_split(split)
        return squad_file(split, self.data, self.progress)


class Windows:
    """All windows of some questions: inputs of `window` tokens or less, each with the question and a part of its
    paragraph."""

    def __init__(
        self, squad: TokenisedSquad, chosen: np.ndarray, template: PairTemplate, window: int, stride: int
    ) -> None:
        self._squad = squad
        self._template = template
        self._window = window
        self._windows: list[tuple[int, int, int]] = []
        lengths = []
        for question in map(int, chosen):
            asked, tokens = len(squad.question(question)), len(squad.context(question))
            room = template.room(asked, window)
            for start in window_starts(tokens, room, stride):
                self._windows.append((question, start, min(room, tokens - start)))
                lengths.append(min(asked, window) + min(room, tokens - start))
        # Windows of one length share a batch, so that few of them are padded.
        self._order = np.argsort(-np.array(lengths), kind="stable")

    def __len__(self) -> int:
        return len(self._windows)

    def batches(self, batch: int) -> list[list[int]]:
        """Numbers of windows, `batch` or fewer together, the longest first."""
        return [self._order[i : i + batch].tolist() for i in range(0, len(self), batch)]

    def inputs(self, rows: list[int]) -> Arrays:
        """The model's inputs for these windows, padded to the longest of them."""
        pairs = []
        for row in rows:
            question, start, tokens = self._windows[row]
            pairs.append((self._squad.question(question), self._squad.context(question)[start : start + tokens]))
        return self._template.join(pairs, self._window)

    def place(self, row: int) -> tuple[int, int, slice]:
        """A window's question, the token of the paragraph that it begins at, and where its text lies in the input."""
        question, start, tokens = self._windows[row]
        first = self._template.text_start(len(self._squad.question(question)), self._window)
        return question, start, slice(first, first + tokens)
