"""Is a sentence from a movie review positive? Rated by people, from the package of VADER (Hutto and Gilbert 2014).

The snippets are those of Pang and Lee (2004), from rotten.tomatoes.com; the package is under the MIT licence.
"""

import hashlib
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .downloads import fetch_package
from .predict import batch_of, check_window
from .sentiment_inputs import batch_inputs, encode, input_names, padding_of
from .task import Arrays, Predict, Progress, Scores, Task, TaskError, check_outputs, spread
from .token_cache import cached_arrays

if TYPE_CHECKING:
    from .sentiment_training import SentimentTraining

REQUIREMENT = "vaderSentiment==3.3.2"
_SOURCE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
_MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"

# Of ten snippets eight train, one is for choices (dev), one for the final figure (test).
_TENTHS = {"train": range(8), "dev": range(8, 9), "test": range(9, 10)}
_SPLIT_SEED = 0

Examples = list[tuple[str, str, int]]
"""Id, text and label (0 negative, 1 positive) of every example."""


class Sentiment(Task):
    """10,602 sentences of movie reviews rated from -4 to 4 by twenty people or more; the label is the sign of the mean.

    Texts that occur twice count once, those rated exactly 0 are left out. Metrics: accuracy, and F1 of the positive
    ones, both in percent.
    """

    name = "sentiment"
    metric = "accuracy"
    model_class = "AutoModelForSequenceClassification"
    outputs = ("logits",)
    labels = ("negative", "positive")

    def training_dataset(
        self, tokenizer: Any, *, window: int = 128, seed: int = 0, limit: int | None = None
    ) -> "SentimentTraining":
        """The same examples in every epoch, padded to the longest of them, `window` tokens at most; `collate` cuts a
        batch to its longest. `seed` changes nothing."""
        from .sentiment_training import SentimentTraining

        examples, encoded = self._encoded("train", tokenizer, window)
        chosen = spread(len(examples), limit)
        labels = np.array([label for _, _, label in examples], np.int64)
        return SentimentTraining(encoded, labels, chosen, padding_of(tokenizer), input_names(tokenizer))

    def calibration_inputs(
        self, tokenizer: Any, *, samples: int = 256, window: int = 128, seed: int = 0
    ) -> list[Arrays]:
        """Training texts drawn by `seed`, each batch as wide as its longest."""
        examples, encoded = self._encoded("train", tokenizer, window)
        drawn = np.random.default_rng(seed).choice(len(examples), min(samples, len(examples)), replace=False)
        # Texts of one length together: padding would be part of what is calibrated on.
        drawn = drawn[np.argsort(np.diff(encoded["bounds"])[drawn], kind="stable")]
        padding, names = padding_of(tokenizer), input_names(tokenizer)
        return [batch_inputs(encoded, drawn[i : i + 32], padding, names) for i in range(0, len(drawn), 32)]

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
        """Accuracy and F1 in percent; `predictions` is id -> label. Every text is one window, cut at its end."""
        began = time.perf_counter()
        check_window(predict, window)
        examples, encoded = self._encoded(split, tokenizer, window)
        chosen = spread(len(examples), limit)
        chosen = chosen[np.argsort(-np.diff(encoded["bounds"])[chosen], kind="stable")]
        padding, names, size = padding_of(tokenizer), input_names(tokenizer), batch_of(predict, batch)
        found = np.empty(len(chosen), np.int64)
        model_seconds = 0.0
        for first in range(0, len(chosen), size):
            arrays = batch_inputs(encoded, chosen[first : first + size], padding, names)
            started = time.perf_counter()
            outputs = predict(arrays)
            model_seconds += time.perf_counter() - started
            check_outputs(self, outputs, len(arrays["input_ids"]))
            if outputs["logits"].shape[1] != len(self.labels):
                raise TaskError(
                    f"the model has {outputs['logits'].shape[1]} labels; task 'sentiment' has the two labels "
                    "0 negative, 1 positive"
                )
            found[first : first + size] = outputs["logits"].argmax(axis=1)
            if progress is not None:
                progress(min(first + size, len(chosen)), len(chosen))
        wanted = np.array([examples[i][2] for i in chosen])
        predictions = {examples[i][0]: self.labels[label] for i, label in zip(chosen, found, strict=True)}
        seconds = time.perf_counter() - began
        metrics = classification_scores(found, wanted)
        return Scores(self.name, split, metrics, len(chosen), len(chosen), seconds, model_seconds, predictions)

    def _encoded(self, split: str, tokenizer: Any, window: int) -> tuple[Examples, dict[str, np.ndarray]]:
        self.check_split(split)
        text = read_text(self.data, self.progress)
        examples = split_of(parse(text, self.data or Path(_MEMBER)), split)
        if not examples:
            raise TaskError(f"'{self.data}' leaves no example for the split '{split}'; expected ten or more")
        content = hashlib.sha256(text.encode()).hexdigest()
        options = {"task": self.name, "split": split, "window": window, "seed": _SPLIT_SEED}
        return examples, cached_arrays(
            content, tokenizer, options, lambda: encode(tokenizer, [text for _, text, _ in examples], window)
        )


def classification_scores(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """`{"accuracy": percent, "f1": percent}`, F1 that of label 1; 0 where neither side has a 1."""
    hits = int(((found == 1) & (wanted == 1)).sum())
    ones = int((found == 1).sum() + (wanted == 1).sum())
    return {"accuracy": 100.0 * float((found == wanted).mean()), "f1": 200.0 * hits / ones if ones else 0.0}


def read_text(data: Path | None, progress: Callable[[str], None] | None = None) -> str:
    """The table of ratings: `data`, or that of the published package (2.5 MB). Raises `TaskError`, `DownloadError`."""
    if data is not None:
        path = data / Path(_MEMBER).name if data.is_dir() else data
        if not path.is_file():
            raise TaskError(
                f"there is no file '{path}'; expected lines of id, rating and text, separated by tabs", usage=True
            )
        content = path.read_bytes()
    else:
        path = Path(_MEMBER)
        folder = fetch_package(
            REQUIREMENT, {_ARCHIVE: _ARCHIVE_SHA256}, source_sha256=_SOURCE_SHA256, progress=progress
        )
        with tarfile.open(folder / _ARCHIVE) as archive:
            member = archive.extractfile(_MEMBER)
            assert member is not None, "an archive of a known hash has its members"
            content = member.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"'{path}' is no text in UTF-8: {error}") from None


def parse(text: str, path: Path) -> Examples:
    """Examples of a table with lines of id, mean rating and text. Raises `TaskError` where a line is not like that."""
    examples: Examples = []
    known: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            key, rating_text, snippet = line.split("\t")
            rating = float(rating_text)
        except ValueError:
            raise TaskError(
                f"line {number} of '{path}' is {line[:60]!r}; expected id, rating and text, separated by tabs"
            ) from None
        same = " ".join(snippet.lower().split())
        if rating == 0 or same in known:
            continue
        known.add(same)
        examples.append((key, snippet, int(rating > 0)))
    if not examples:
        raise TaskError(f"'{path}' holds no rated text")
    return examples


def split_of(examples: Examples, split: str) -> Examples:
    """The examples of a split, in their order. Which one an example is in depends on its text alone, so that it stays
    there whatever is added or removed."""

    def tenth(text: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{_SPLIT_SEED} {text}".encode()).digest()[:8]) % 10

    return [example for example in examples if tenth(example[1]) in _TENTHS[split]]
