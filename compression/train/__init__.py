"""Training on a task: fine-tuning, distillation and retraining of pruned models, on the Hugging Face Trainer.

Torch and transformers are imported on use only.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .errors import TrainError

if TYPE_CHECKING:
    from .job import TrainingJob
    from .run import TrainingResult, run_training
    from .task_model import load_task_model

__all__ = ["TrainError", "TrainingJob", "TrainingResult", "load_task_model", "run_training"]

_HOMES = {"TrainingJob": "job", "TrainingResult": "run", "run_training": "run", "load_task_model": "task_model"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
