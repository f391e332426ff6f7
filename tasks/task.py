"""What a task is: data, a metric, and how a model is scored on it, whatever runs the model."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.errors import SecateurError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

Arrays = dict[str, np.ndarray]

Predict = Callable[[Arrays], Arrays]
"""Inputs by name, each [batch, tokens] -> outputs by name. It may tell its `batch` and `window` (`Predictor`)."""

Progress = Callable[[int, int], None]
"""Called with the windows that are done and their number."""

SPLITS = ("train", "dev", "test")


class TaskError(SecateurError):
    """Data, tokenizer or model do not fit the task. The text is one sentence: what was found and what is accepted."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a model scored.

    `metrics`: name -> percent (0..100). `examples` were scored in `windows` inputs to the model; the model took
    `model_seconds` for them, everything together `seconds`. `predictions`: example id -> answer or label.
    """

    task: str
    split: str
    metrics: dict[str, float]
    examples: int
    windows: int
    seconds: float
    model_seconds: float
    predictions: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def ms_per_window(self) -> float:
        """Milliseconds of the model for one window, its share of a batch."""
        return 1e3 * self.model_seconds / max(self.windows, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the predictions."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "predictions"}
        return {**fields, "ms_per_window": self.ms_per_window}


class Task(abc.ABC):
    """A data set with a metric.

    `metric` is the main one of `Scores.metrics`; `model_class` the `Auto...` class of transformers that fits;
    `outputs` what such a model must return.
    """

    name: str
    metric: str
    model_class: str
    outputs: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """Names of a classifier's labels, in the order of its logits; empty where there are none."""
    splits: tuple[str, ...] = SPLITS
    """The parts of the data."""

    def __init__(self, data: Path | None = None, progress: Callable[[str], None] | None = None) -> None:
        """`data`: a file or folder in place of the published data. `progress` is told of downloads and the like."""
        self.data = data
        self.progress = progress or (lambda stage: None)

    @abc.abstractmethod
    def training_dataset(
        self, tokenizer: Any, *, window: int = 128, seed: int = 0, limit: int | None = None
    ) -> "Dataset[dict[str, Any]]":
        """Training examples: dicts of int64 tensors, [window] each, and the labels. `limit`: so many, spread evenly.

        Where examples change from epoch to epoch, the data set has `set_epoch(epoch)`, which the Hugging Face Trainer
        calls; an example depends on `seed`, the epoch and its index alone.
        """

    @abc.abstractmethod
    def calibration_inputs(
        self, tokenizer: Any, *, samples: int = 256, window: int = 128, seed: int = 0
    ) -> list[Arrays]:
        """Unlabelled inputs from the training split, drawn by `seed`: int64 [32 or less, window] by input name."""

    @abc.abstractmethod
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
        """Scores a model on `split`, or on `limit` of its examples, spread evenly.

        `batch`: windows a call; by default what `predict` says, else 32. Raises `TaskError`, for example where the
        model's outputs are not those of the task.
        """

    def check_split(self, split: str) -> None:
        """Raises `TaskError` where the data has no such part."""
        if split not in self.splits:
            raise TaskError(f"task '{self.name}' has the splits {', '.join(self.splits)}, found '{split}'", usage=True)

    def check_labels(self, labels: Mapping[int, str]) -> None:
        """Raises `TaskError` where a classifier's labels (`id2label` of a Hugging Face config, or those of a bundle by
        their place) are others than the task's.

        Labels without a name of their own (`LABEL_0`, or a number) are taken to be in the task's order.
        """
        if not self.labels:
            return
        found = [str(labels[key]) for key in sorted(labels, key=int)]
        fits = len(found) == len(self.labels) and all(
            name.lower() in (f"label_{i}", str(i)) or name.lower()[:3] == label[:3]
            for i, (name, label) in enumerate(zip(found, self.labels, strict=True))
        )
        if not fits:
            has = ", ".join(f"{i} {name}" for i, name in enumerate(found)) or "none"
            wanted = ", ".join(f"{i} {name}" for i, name in enumerate(self.labels))
            raise TaskError(f"the model's labels are {has}; task '{self.name}' has {wanted}")


def spread(count: int, limit: int | None) -> np.ndarray:
    """`limit` of the numbers 0 ... count - 1 (int64), evenly spaced; all where `limit` is None or no less.

    Data sets are sorted by topic, so that their beginning is no sample.
    """
    if limit is not None and limit < 1:
        raise TaskError(f"expected a limit of 1 or more, found {limit}")
    if limit is None or limit >= count:
        return np.arange(count)
    return np.arange(limit) * count // limit


def check_outputs(task: Task, outputs: Mapping[str, np.ndarray], batch: int) -> None:
    """Raises `TaskError` unless a model's outputs are the task's, for `batch` windows."""
    missing = [name for name in task.outputs if name not in outputs]
    if missing:
        found = ", ".join(outputs) or "none"
        raise TaskError(
            f"task '{task.name}' needs the outputs {' and '.join(task.outputs)}, found {found}; expected a model whose "
            f"class is one '{task.model_class.removeprefix('AutoModel')}'"
        )
    for name in task.outputs:
        if outputs[name].ndim != 2 or len(outputs[name]) != batch:
            raise TaskError(
                f"the model's output '{name}' has shape {list(outputs[name].shape)}, expected {batch} rows of one "
                "number each per token or label"
            )
        if not np.isfinite(outputs[name]).all():
            raise TaskError(f"the model's output '{name}' holds NaN or infinity")
