"""Data sets with a metric, on which a PyTorch module and a bundle are scored alike. Torch is imported on use only."""

import importlib
from collections.abc import Callable
from pathlib import Path

from .predict import bundle_predict, load_tokenizer, torch_predict
from .task import Scores, Task, TaskError

__all__ = [
    "TASKS",
    "Scores",
    "Task",
    "TaskError",
    "bundle_predict",
    "get_task",
    "load_tokenizer",
    "torch_predict",
]

TASKS = {"squad": ".squad:Squad", "sentiment": ".sentiment:Sentiment"}
"""Name -> where its class is."""


def get_task(name: str, data: Path | None = None, progress: Callable[[str], None] | None = None) -> Task:
    """The task of that name, on `data` (a file or folder in the same format) in place of the published data.

    `progress` is told of downloads and of tokenising. Raises `TaskError` for an unknown name.
    """
    if name not in TASKS:
        raise TaskError(f"there is no task '{name}'; accepted: {', '.join(TASKS)}", usage=True)
    module, _, kind = TASKS[name].partition(":")
    task: Task = getattr(importlib.import_module(module, __name__), kind)(data, progress)
    return task
