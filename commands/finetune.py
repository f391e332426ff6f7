"""`secateur finetune`: a Hugging Face encoder learns a task."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .early_checks import check_folder_out, check_task
from .output import Debug, Json, Output, Quiet
from .training_options import (
    Batch,
    Epochs,
    LearningRate,
    Limit,
    Minutes,
    Overlay,
    Seed,
    Steps,
    Teacher,
    TeacherOverlay,
    TrainingBar,
    check_training,
    layer_zeros,
    length_given,
    result_value,
    show_result,
)

EXAMPLE = "Example: secateur finetune ./minilm --task squad -o ./minilm-squad --epochs 2"


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A Hugging Face folder of an encoder; a missing head is added.")
    ],
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel="Model and data", help="squad (SQuAD v1.1) or sentiment (movie reviews)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", rich_help_panel="Model and data", help="Hugging Face folder to write."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Model and data",
            help="A file in the task's format, or a folder of them (default: downloaded).",
        ),
    ] = None,
    overlay: Overlay = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = 32,
    learning_rate: LearningRate = 3e-4,
    seed: Seed = 0,
    teacher: Teacher = None,
    teacher_overlay: TeacherOverlay = None,
    limit: Limit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model on a task, by default for one epoch. Zeros that the model has stay zero.

    A training that was stopped, however, goes on when the same command is given again, and ends with the same weights.
    """
    length_given(epochs, steps, minutes)
    check_task(task, data)
    check_training(model, overlay, teacher, teacher_overlay, learning_rate)
    check_folder_out(out)
    output = Output(as_json, quiet)
    with TrainingBar(output, f"training {model}", quiet).shown() as bar:
        bar.stage("loading")
        from secateur.compression.train import TrainingJob, load_task_model, run_training
        from secateur.compression.train.job import SCORED
        from secateur.compression.train.task_model import load_teacher
        from secateur.tasks import get_task

        chosen = get_task(task, data, bar.stage)
        module, tokenizer = load_task_model(model, chosen, overlay, seed)
        result = run_training(
            TrainingJob(
                module,
                chosen,
                tokenizer,
                out,
                epochs=epochs,
                steps=steps,
                minutes=minutes,
                batch=batch,
                learning_rate=learning_rate,
                seed=seed,
                limit=limit,
                score_limit=limit or SCORED,
                teacher=load_teacher(teacher, teacher_overlay, chosen, model, overlay),
                callbacks=keep_zeros(module),
                method={"method": "finetune", "model": Path(model).resolve().name},
                progress=bar.step,
                stage=bar.stage,
            )
        )
    output.result(result_value(result), lambda console: show_result(console, result))


def keep_zeros(module: Any) -> list[Any]:
    """The callback that keeps zeros, where some layer of the encoder is pruned."""
    from secateur.compression.prune import PruningCallback

    return [PruningCallback("fixed")] if layer_zeros(module) else []
