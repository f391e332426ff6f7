"""The Hugging Face Trainer with a teacher, batches by length, and checkpoints that are whole or ignored."""

import math
import time
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .batches import NumberedWindows, TrainingLoader
from .distillation import Teacher, hidden_loss, logits_loss, logits_of
from .errors import TrainError
from .job import TrainingJob
from .run_folder import RunFolder, not_written
from .schedule import Plan


class TaskTrainer(Trainer):
    """Trains the module of `job` on `windows` as `plan` says, into `folder`."""

    def __init__(
        self, job: TrainingJob, plan: Plan, windows: NumberedWindows, teacher: Teacher | None, folder: RunFolder
    ) -> None:
        self.job, self.plan, self.windows, self.teacher, self.folder = job, plan, windows, teacher, folder
        self.tokens = 0
        self.padded_tokens = 0
        self.seconds_before = 0.0
        self.began = time.monotonic()
        super().__init__(model=job.module, args=training_arguments(job, plan, folder), train_dataset=windows)
        # This prints; `job.progress` tells instead.
        from transformers.trainer_callback import PrinterCallback

        self.remove_callback(PrinterCallback)
        for callback in job.callbacks:
            self.add_callback(callback)
        # The last one: a checkpoint is complete when all others have added theirs.
        self.add_callback(CheckpointCallback(self))

    @property
    def seconds(self) -> float:
        """Wall-clock time of the training so far, all processes together."""
        return self.seconds_before + time.monotonic() - self.began

    def get_train_dataloader(self) -> TrainingLoader:
        return TrainingLoader(self.windows, self.job.batch, self.job.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labelled = {name: tensor for name, tensor in inputs.items() if name != "row"}
        hidden = self.teacher is not None and self.job.hidden_weight > 0
        outputs = model(**labelled, output_hidden_states=hidden)
        loss = outputs["loss"]
        if self.teacher is not None:
            epoch = self.state.global_step // self.plan.steps_per_epoch
            theirs = self.teacher.logits(inputs, epoch, self.job.window)
            mask, share = inputs["attention_mask"], self.job.logits_weight
            distance = logits_loss(logits_of(outputs), theirs, mask, self.job.temperature)
            loss = (1 - share) * loss + share * distance
            if hidden:
                states = self.teacher.hidden_states(inputs)
                loss = loss + self.job.hidden_weight * hidden_loss(outputs["hidden_states"], states, mask)
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        self.tokens += int(inputs["attention_mask"].sum())
        self.padded_tokens += inputs["attention_mask"].numel()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._check(loss, "loss")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        self._check(norm, "norm of the gradients")
        return norm

    def _check(self, value: Any, what: str) -> None:
        """Before the optimizer's step, so that no NaN gets into a weight and from there into a checkpoint."""
        number = float(value)
        if not math.isfinite(number):
            newest = self.folder.newest()
            kept = f"the checkpoint of step {newest[1]['step']} stays" if newest else "there is no checkpoint yet"
            raise TrainError(
                f"the {what} is {number} at step {self.state.global_step + 1} of {self.plan.steps}: training stops,"
                f" and {kept}; a smaller learning rate than {self.job.learning_rate:g} may help, in a new folder"
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:
            raise not_written(error, self.folder.checkpoints) from error

    def rehearse(self, batch: dict[str, torch.Tensor]) -> None:
        """A forward and a backward pass whose gradients are dropped."""
        self.model.train()
        with self.compute_loss_context_manager():
            loss = self.compute_loss(self.model, self._prepare_inputs(batch))
        loss.backward()
        self.model.zero_grad()


class CheckpointCallback(TrainerCallback):
    """Says when a checkpoint is due, and marks it complete."""

    def __init__(self, trainer: TaskTrainer) -> None:
        self._trainer = trainer
        self._last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        job = self._trainer.job
        every = job.checkpoint_steps
        due = time.monotonic() - self._last >= 60 * job.checkpoint_minutes
        if every is not None:
            due = state.global_step % every == 0
        # After the last step comes the result.
        control.should_save = due and state.global_step < state.max_steps

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        trainer = self._trainer
        figures = {"seconds": trainer.seconds, "tokens": trainer.tokens, "padded_tokens": trainer.padded_tokens}
        try:
            trainer.folder.complete(state.global_step, figures)
        except OSError as error:
            raise not_written(error, trainer.folder.checkpoints) from error
        self._last = time.monotonic()


def training_arguments(job: TrainingJob, plan: Plan, folder: RunFolder) -> TrainingArguments:
    """The Trainer's arguments for a job."""
    return TrainingArguments(
        output_dir=str(folder.checkpoints),
        max_steps=plan.steps,
        per_device_train_batch_size=job.batch,
        learning_rate=job.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=plan.warmup_steps,
        weight_decay=job.weight_decay,
        seed=job.seed,
        bf16=job.precision == "bf16",
        save_strategy="no",
        logging_steps=10,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
