"""What is to be trained, and how: the description of one training."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TrainError

if TYPE_CHECKING:
    import torch
    from transformers import TrainerCallback

SCORED = 1000
"""Examples that score a finished training: enough to see how it went; `secateur eval` takes all."""
# Settings that change how a training is watched and stored, not what comes out of it.
_WATCHING = ("checkpoint_minutes", "checkpoint_steps", "evaluate_every", "evaluate_limit", "score_limit")
_OBJECTS = (
    *("module", "task", "tokenizer", "teacher", "callbacks", "progress", "stage"),
    *("out", "teacher_cache", "notes"),
)


@dataclasses.dataclass(frozen=True)
class TrainingStep:
    """What is told of a running training: steps done of `steps`, and the last known loss (mean since it was last
    told), fraction of zeros in the pruned layers, value of the task's metric, and tokens per second of this process."""

    step: int
    steps: int
    loss: float | None = None
    sparsity: float | None = None
    metric: float | None = None
    tokens_per_second: float | None = None


@dataclasses.dataclass
class TrainingJob:
    """A training of `module` on `task` (see `secateur.tasks`) that ends as a Hugging Face folder `out`.

    - Length: one of `epochs` (may be a fraction), `steps` of the optimizer, or `minutes`, from which the number of
      steps is planned once, before the first step (see `schedule`); none means one epoch.
    - AdamW; the learning rate rises linearly over `warmup_steps` (at most a tenth of all steps) and falls linearly to
      zero at the last step. Gradients are clipped to norm 1. `batch` windows of at most `window` tokens a step.
    - `dropout` between layers, `attention_dropout` on attention weights; the latter is 0 because the fused attention of
      PyTorch does without, and is much faster. The config that is saved keeps its own values.
    - `freeze`: glob patterns of parameters that keep their values.
    - `teacher`, a module of the same class: loss = (1 - logits_weight) labels + logits_weight T^2 KL(teacher, student)
      at `temperature` T + hidden_weight times the mean squared difference of hidden states over that of the teacher
      from zero. Without a teacher: labels alone.
    - `callbacks`: of the Trainer, such as `secateur.compression.prune.PruningCallback`; `method` describes them and
      what was done before, for `training.json` and to tell one job from another.
    - `notes`: more for `training.json`.
    - `start` names the weights to begin with, where they are what a computation from others gives that would be long to
      repeat; by default their hash does.
    - `limit`: windows of training data come from that many examples only. `precision` "bf16" computes under autocast.
    - Checkpoints every `checkpoint_minutes`, or every `checkpoint_steps`; the metric on `evaluate_limit` examples every
      `evaluate_every` steps (None: four times, 0: never), and at the end on `score_limit` (None: all, 0: not at all).
    Raises `TrainError` for settings that make no training.
    """

    module: "torch.nn.Module"
    task: Any
    tokenizer: Any
    out: Path
    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    batch: int = 32
    learning_rate: float = 3e-4
    warmup_steps: int = 150
    weight_decay: float = 0.01
    dropout: float = 0.05
    attention_dropout: float = 0.0
    freeze: Sequence[str] = ("*embeddings*",)
    seed: int = 0
    window: int = 128
    limit: int | None = None
    teacher: "torch.nn.Module | None" = None
    temperature: float = 2.0
    logits_weight: float = 0.9
    hidden_weight: float = 0.0
    start: str | None = None
    callbacks: "Sequence[TrainerCallback]" = ()
    method: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    precision: str = "fp32"
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    evaluate_every: int | None = None
    evaluate_limit: int = 100
    score_limit: int | None = SCORED
    teacher_cache: Path | None = None
    progress: Callable[[TrainingStep], None] | None = None
    stage: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise TrainError(f"a training has one length, epochs, steps or minutes, found {' and '.join(given)}")
        if not given:
            self.epochs = 1.0
        for name in ("epochs", "steps", "minutes", "batch", "learning_rate", "temperature", "window"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise TrainError(f"{name.replace('_', ' ')} of a training is more than 0, found {value}")
        for name in ("dropout", "attention_dropout", "logits_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainError(f"{name.replace('_', ' ')} lies between 0 and 1, found {getattr(self, name)}")
        if self.precision not in ("fp32", "bf16"):
            raise TrainError(f"the precision of a training is fp32 or bf16, found '{self.precision}'")
        self.out = Path(self.out)

    def identity(self) -> dict[str, Any]:
        """What makes this job this job, as JSON values: settings, weights to begin with, and the teacher's."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if _is_setting(f.name)}
        plain["freeze"] = list(self.freeze)
        plain["method"] = dict(self.method)
        plain["callbacks"] = [_describe(callback) for callback in self.callbacks]
        plain["task"] = self.task.name
        plain["start"] = self.start or weights_hash(self.module)
        plain["teacher"] = weights_hash(self.teacher) if self.teacher is not None else None
        if self.teacher is None:
            for name in ("temperature", "logits_weight", "hidden_weight"):
                del plain[name]
        return plain


def _is_setting(name: str) -> bool:
    return name not in _OBJECTS and name not in _WATCHING


def _describe(callback: Any) -> dict[str, Any]:
    """A callback's class and the public attributes that are plain values or dataclasses, as text."""
    plain = (str, int, float, list, tuple, dict, type(None))
    public = {name: value for name, value in sorted(vars(callback).items()) if not name.startswith("_")}
    said = {n: repr(v) for n, v in public.items() if isinstance(v, plain) or dataclasses.is_dataclass(v)}
    return {"class": type(callback).__name__, **said}


def weights_hash(module: "torch.nn.Module") -> str:
    """SHA-256 over the names, shapes and bytes of a module's parameters and buffers, first 16 hexadecimal digits."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
