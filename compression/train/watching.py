"""Watches a training: tells how far it is, and what the task's metric is in between."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .job import TrainingJob, TrainingStep
from .trainer import TaskTrainer

_EVALUATIONS = 4


class WatchCallback(TrainerCallback):
    """Calls `job.progress` at each log and evaluation; evaluates on a part of the data as `job` says."""

    def __init__(self, trainer: TaskTrainer) -> None:
        self._trainer = trainer
        self._job: TrainingJob = trainer.job
        every = self._job.evaluate_every
        self._every = max(1, trainer.plan.steps // _EVALUATIONS) if every is None else every
        self._began, self._tokens = time.monotonic(), 0
        self._paused = 0.0
        self._loss: float | None = None
        self._sparsity: float | None = None
        self._metric: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._began, self._tokens = time.monotonic(), self._trainer.tokens
        self._tell(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # At the last step the whole score follows, of the model as pruning leaves it.
        if self._every and state.global_step % self._every == 0 and state.global_step < state.max_steps:
            began = time.monotonic()
            scores = evaluate(self._job, self._job.evaluate_limit)
            self._metric = scores.metrics[self._job.task.metric]
            metrics = {f"dev_{name}": value for name, value in scores.metrics.items()}
            # Not through the Trainer's log: that takes a loss that is due in this step for told.
            entry = {**metrics, "dev_examples": scores.examples, "epoch": state.epoch, "step": state.global_step}
            state.log_history.append(entry)
            self._paused += time.monotonic() - began
            self._tell(state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self._loss = logs["loss"]
            self._sparsity = logs.get("pruning_sparsity", self._sparsity)
            self._tell(state)

    def _tell(self, state: TrainerState) -> None:
        seconds = time.monotonic() - self._began - self._paused
        rate = (self._trainer.tokens - self._tokens) / seconds if self._trainer.tokens > self._tokens else None
        if self._job.progress is not None:
            self._job.progress(
                TrainingStep(state.global_step, state.max_steps, self._loss, self._sparsity, self._metric, rate)
            )


def evaluate(job: TrainingJob, limit: int | None) -> Any:
    """The task's scores of the job's module as it is, on `limit` examples of the dev split."""
    from secateur.tasks.predict import torch_predict

    predict = torch_predict(job.module)
    return job.task.evaluate(predict, job.tokenizer, split="dev", window=job.window, limit=limit)
