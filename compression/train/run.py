"""Runs a training to its end, from wherever it was left."""

import contextlib
import dataclasses
import fnmatch
import hashlib
import importlib.util
import itertools
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.user_folders import user_folder

from .errors import TrainError
from .folder_lock import locked_folder
from .job import TrainingJob
from .run_folder import RunFolder

if TYPE_CHECKING:
    import torch

_VERSIONS = ("secateur", "torch", "transformers", "accelerate", "numpy")


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A finished training: the module in evaluation mode, and `training.json` as values: `steps`, `epochs`, `tokens`
    (without padding), `minutes` of wall-clock time, `scores` (None where none were asked for), `history`."""

    module: "torch.nn.Module"
    out: Path
    record: dict[str, Any]

    @property
    def scores(self) -> dict[str, Any] | None:
        """The task's scores of the result."""
        return self.record["scores"]


def run_training(job: TrainingJob) -> TrainingResult:
    """Trains `job.module` in place and writes the folder `job.out`.

    Where the folder holds a part of the same job, training goes on from its last checkpoint and ends with the same
    weights, bit by bit, as one that was never stopped (on the same machine and as many threads); where it holds
    the whole job, that is returned. Raises `TrainError`: another training in the folder, a loss that is NaN or
    infinite, weights that are NaN, a full disk, a missing package, another process in the folder.
    """
    check_packages()
    _check_weights(job)
    with locked_folder(job.out):
        folder = RunFolder(job.out, job.identity())
        record = folder.result()
        if record is not None:
            _load_weights(job.module, job.out)
            return TrainingResult(job.module.eval(), job.out, record)
        with _prepared(job), quiet_transformers():
            return _run(job, folder)


def _run(job: TrainingJob, folder: RunFolder) -> TrainingResult:
    import torch
    from transformers import set_seed

    from .batches import NumberedWindows, TrainingLoader
    from .distillation import Teacher
    from .schedule import Plan, plan_steps
    from .trainer import TaskTrainer
    from .watching import WatchCallback, evaluate

    stage = job.stage or (lambda text: None)
    stage("reading the data")
    windows = NumberedWindows(
        job.task.training_dataset(job.tokenizer, window=job.window, seed=job.seed, limit=job.limit)
    )
    if not len(windows):
        raise TrainError(f"the task '{job.task.name}' has no training data")
    loader = TrainingLoader(windows, job.batch, job.seed)
    teacher = None
    if job.teacher is not None:
        cache = job.teacher_cache or default_teacher_cache()
        teacher = Teacher(job.teacher, len(windows), _data_key(windows, job), cache, note=stage)

    recorded = folder.plan()
    if recorded is None:
        with _scratch_plan(job, loader, windows, teacher, folder) as rehearse:
            if job.minutes is not None:
                stage("measuring how long a step takes")
            plan = plan_steps(job, len(loader), rehearse)
        folder.begin(dataclasses.asdict(plan))
    else:
        plan = Plan(**recorded)

    newest = folder.newest()
    set_seed(job.seed)
    trainer = TaskTrainer(job, plan, windows, teacher, folder)
    if teacher is not None:
        teacher.module.to(trainer.args.device)
    trainer.callback_handler.callbacks.insert(-1, WatchCallback(trainer))
    checkpoint = None
    if newest is not None:
        checkpoint, figures = str(newest[0]), newest[1]
        trainer.tokens, trainer.padded_tokens = figures["tokens"], figures["padded_tokens"]
        trainer.seconds_before = figures["seconds"]
    stage("training")
    trainer.train(resume_from_checkpoint=checkpoint)
    seconds = trainer.seconds
    job.module.eval()

    scores = None
    if job.score_limit != 0:
        stage("scoring")
        found = evaluate(job, job.score_limit)
        scores = {"metrics": dict(found.metrics), "examples": found.examples, "windows": found.windows}
    record = {
        "task": job.task.name,
        "method": dict(job.method),
        "notes": dict(job.notes),
        "steps": plan.steps,
        "epochs": plan.steps / plan.steps_per_epoch,
        "windows": len(windows),
        "tokens": trainer.tokens,
        "padded_tokens": trainer.padded_tokens,
        "minutes": seconds / 60,
        "scores": scores,
        "plan": dataclasses.asdict(plan),
        "machine": {"processor": platform.machine(), "device": str(trainer.args.device),
                    "threads": torch.get_num_threads()},
        "versions": _versions(),
        "history": trainer.state.log_history,
    }  # fmt: skip
    stage("writing")
    job.module.cpu()
    return TrainingResult(job.module, job.out, folder.finish(job.module, job.tokenizer, record))


@contextlib.contextmanager
def _scratch_plan(job: TrainingJob, loader: Any, windows: Any, teacher: Any, folder: RunFolder) -> Iterator[Any]:
    """The function that rehearses a batch, where minutes are to be planned."""
    if job.minutes is None:
        yield lambda: None
        return
    from .schedule import Plan
    from .trainer import TaskTrainer

    plain = dataclasses.replace(job, callbacks=())
    trainer = TaskTrainer(plain, Plan(1, 0, len(loader)), windows, teacher, folder)
    if teacher is not None:
        teacher.module.to(trainer.args.device)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    yield lambda: trainer.rehearse(next(batches))


@contextlib.contextmanager
def _prepared(job: TrainingJob) -> Iterator[None]:
    """Dropout and frozen parameters as the job says, products on a GPU in TF32; afterwards as they were."""
    import torch
    from torch import nn

    rates = {}
    for name, part in job.module.named_modules():
        if isinstance(part, nn.Dropout):
            rates[part] = part.p
            part.p = job.attention_dropout if _drops_attention(name) else job.dropout
    trained = {parameter: parameter.requires_grad for parameter in job.module.parameters()}
    for name, parameter in job.module.named_parameters():
        parameter.requires_grad_(not any(fnmatch.fnmatchcase(name, pattern) for pattern in job.freeze))
    products = torch.backends.cuda.matmul
    allowed = products.allow_tf32
    try:
        products.allow_tf32 = True
        if not any(parameter.requires_grad for parameter in job.module.parameters()):
            raise TrainError(f"nothing is left to train: {', '.join(job.freeze)} freezes every parameter")
        yield
    finally:
        products.allow_tf32 = allowed
        for part, rate in rates.items():
            part.p = rate
        for parameter, wanted in trained.items():
            parameter.requires_grad_(wanted)


def _drops_attention(name: str) -> bool:
    # BERT, RoBERTa and kin: attention.self.dropout; MPNet: attention.attn.dropout; DistilBERT: attention.dropout.
    return name.endswith((".self.dropout", ".attn.dropout", ".attention.dropout", "attention_dropout", "attn_dropout"))


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing reports and progress bars."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def check_packages() -> None:
    """Raises `TrainError` where a package that training needs is not installed."""
    if importlib.util.find_spec("accelerate") is None:
        raise TrainError("training needs the package accelerate: pip install 'secateur[train]'")


def _check_weights(job: TrainingJob) -> None:
    import torch

    for whose, module in (("model", job.module), ("teacher", job.teacher)):
        for name, tensor in module.state_dict().items() if module is not None else ():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                count = int((~torch.isfinite(tensor)).sum())
                raise TrainError(f"'{name}' of the {whose} holds {count} values that are NaN or infinite")
    if job.teacher is not None and type(job.teacher) is not type(job.module):
        raise TrainError(
            f"a teacher has the class of the model, {type(job.module).__name__}, found {type(job.teacher).__name__}"
        )


def _load_weights(module: "torch.nn.Module", folder: Path) -> None:
    from safetensors.torch import load_file

    module.load_state_dict(load_file(folder / "model.safetensors"), strict=False)


def default_teacher_cache() -> Path:
    """Where teachers' logits are kept: `secateur-teachers` in the user's cache folder."""
    return user_folder("XDG_CACHE_HOME") / "secateur-teachers"


def _data_key(windows: Any, job: TrainingJob) -> str:
    """What the windows are, as a hash: the task's own where it has one, else one of a sample of them."""
    digest = hashlib.sha256(f"{job.task.name} {len(windows)} {job.window} {job.seed} {job.limit}".encode())
    own = getattr(windows.dataset, "fingerprint", None)
    if own is not None:
        digest.update(str(own).encode())
    else:
        for i in range(0, len(windows), max(1, len(windows) // 256)):
            digest.update(windows[i]["input_ids"].numpy().tobytes())
    return digest.hexdigest()[:16]


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
