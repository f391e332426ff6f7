"""What `secateur prune` does: loads, chooses block and rates, prunes, trains."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from secateur.compression.accelerator import accelerated
from secateur.compression.prune import PruneReport, parse_scheme, prune_model
from secateur.compression.train import TrainError, TrainingJob, TrainingResult, load_task_model, run_training
from secateur.compression.train.folder_lock import locked_folder
from secateur.compression.train.job import weights_hash
from secateur.compression.train.run import quiet_transformers
from secateur.compression.train.task_model import load_teacher
from secateur.dialects.number_formats import STORAGES
from secateur.dialects.scratch import ScratchFolder
from secateur.frontends import load_model
from secateur.tasks import Task, load_tokenizer

from .choice import Chosen, calibration_inputs, choose, task_of
from .options import AT_ONCE, Pruning
from .start import Start
from .watcher import Watcher


def prune_at_once(asked: Pruning, watcher: Watcher) -> tuple[PruneReport, Any]:
    """Prunes without training and writes the folder: the report, and the plan where a target chose. Raises
    `FileExistsError` where the folder holds something."""
    _check_free(asked.out)
    parse_scheme(asked.scheme, asked.block)
    watcher.stage("loading")
    task = task_of(asked.data, watcher)
    if asked.overlay is not None and task is None:
        raise TrainError(
            "--overlay needs a task, whose head the model gets: --data squad or --data sentiment", usage=True
        )
    if task is not None and asked.overlay is not None:
        module, tokenizer = load_task_model(asked.model, task, asked.overlay, asked.seed)
        files = load_model(asked.model).tokenizer_files
    else:
        loaded = load_model(asked.model)
        module, files = loaded.module, loaded.tokenizer_files
        tokenizer = load_tokenizer(asked.model) if asked.data is not None else None
    chosen = choose(asked, module, tokenizer, task, watcher)
    pruned, report = _prune(asked, module, chosen, tokenizer, task, watcher)
    watcher.stage("writing")
    _save(pruned, files, asked.out)
    return report, chosen.plan


def prune_and_train(
    asked: Pruning, watcher: Watcher, teacher: str | None, teacher_overlay: Path | None, **length: Any
) -> tuple[TrainingResult, Any]:
    """Prunes at once or in training, trains, and writes the folder. Goes on with a training that was stopped."""
    parse_scheme(asked.scheme, asked.block)
    watcher.stage("loading")
    task = task_of(asked.data, watcher)
    if task is None:
        raise TrainError(f"a training needs a task: --data squad or --data sentiment, found '{asked.data}'", usage=True)
    module, tokenizer = load_task_model(asked.model, task, asked.overlay, asked.seed)
    key = hashlib.sha256(json.dumps([asked.description(), weights_hash(module)]).encode()).hexdigest()[:16]
    with locked_folder(asked.out):
        return _trained(asked, watcher, module, tokenizer, task, key, teacher, teacher_overlay, length)


def _trained(
    asked: Pruning,
    watcher: Watcher,
    module: Any,
    tokenizer: Any,
    task: Task,
    key: str,
    teacher: str | None,
    teacher_overlay: Path | None,
    length: dict[str, Any],
) -> tuple[TrainingResult, Any]:
    from secateur.compression.prune import PruningCallback

    start = Start(asked.out, key)
    values, plan = start.read(), None
    if values is None:
        values = {"rates": {}, "include": asked.include, "scheme": asked.scheme, "block": asked.block}
        # Where the folder holds another training, that is refused before anything takes long.
        if asked.method != "fixed" and not start.is_of_another():
            chosen = choose(asked, module, tokenizer, task, watcher)
            plan = chosen.plan
            if asked.method in AT_ONCE:
                module, _ = _prune(asked, module, chosen, tokenizer, task, watcher)
            values = start.write(module, chosen.to_dict())
    elif asked.method in AT_ONCE:
        start.load(module)
    if asked.method in (*AT_ONCE, "fixed"):
        callback = PruningCallback("fixed", include=values["include"], skip=asked.skip)
    else:
        callback = PruningCallback(
            asked.method,
            values["scheme"],
            values["block"],
            asked.sparsity,
            rates=values["rates"] or None,
            include=values["include"],
            skip=asked.skip,
        )
    job = TrainingJob(
        module,
        task,
        tokenizer,
        asked.out,
        seed=asked.seed,
        teacher=load_teacher(teacher, teacher_overlay, task, asked.model, asked.overlay),
        start=key,
        callbacks=[callback],
        method=asked.description(),
        notes=values,
        **length,
    )
    return run_training(job), plan


def _prune(
    asked: Pruning,
    module: Any,
    chosen: Chosen,
    tokenizer: Any,
    task: Task | None,
    watcher: Watcher,
) -> tuple[Any, PruneReport]:
    options: dict[str, Any] = {
        "rates": chosen.rates or None,
        "include": chosen.include,
        "skip": asked.skip,
        "copy": False,
        "progress": lambda done, total, name: watcher.stage(f"layer {done} of {total} {name}"),
    }
    if asked.method == "one-shot":
        return prune_model(module, chosen.scheme, asked.sparsity, **options)
    from secateur.compression.prune.second_order import prune_second_order

    watcher.stage("calibration inputs")
    scheme = None if asked.only_rounds else chosen.scheme
    if asked.weights != "f32":
        options["storage"] = STORAGES[asked.weights]
    inputs = calibration_inputs(asked, tokenizer, task)
    with accelerated(module):
        return prune_second_order(module, inputs, scheme, asked.sparsity, **options)


def _check_free(out: Path) -> None:
    """Raises `FileExistsError` where `out` holds something."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"'{out}' exists; name a new folder")


def _save(model: Any, tokenizer_files: list[Path], out: Path) -> None:
    """Writes a Hugging Face folder whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        quiet_transformers(),
        ScratchFolder("prune", out.parent, "make room there, or name another folder with --out") as scratch,
    ):
        folder = Path(scratch) / out.name
        model.save_pretrained(folder)
        for file in tokenizer_files:
            shutil.copyfile(file, folder / Path(file).name)
        # Another process may have written it since the first look.
        _check_free(out)
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
