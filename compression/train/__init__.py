"""Training on a task: fine-tuning, distillation and retraining of pruned models, on the Hugging Face Trainer.

Torch and transformers are imported on use only.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

from .errors import TrainError

if TYPE_CHECKING:
    from .job import TrainingJob
    from .run import TrainingResult, run_training
    from .task_model import load_task_model

__all__ = ["TrainError", "TrainingJob", "TrainingResult", "load_task_model", "run_training"]

_HOMES = {"TrainingJob": "job", "TrainingResult": "run", "run_training": "run", "load_task_model": "task_model"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
