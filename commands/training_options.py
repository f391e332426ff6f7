"""The options of commands that train, the bar that shows how far a training is, and what is printed at its end."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import percent, table

from .early_checks import check_file, check_model
from .output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compression.train import TrainingResult
    from secateur.compression.train.job import TrainingStep

Overlay = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel="Model and data",
        help="A safetensors file with part of the weights, laid over those of MODEL.",
    ),
]
Epochs = Annotated[
    float | None,
    typer.Option(
        metavar="EPOCHS", rich_help_panel="Training", help="Length: passes over the training data, such as 0.5."
    ),
]
Steps = Annotated[
    int | None, typer.Option(min=1, metavar="STEPS", rich_help_panel="Training", help="Length: steps of the optimizer.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES",
        rich_help_panel="Training",
        help="Length: wall-clock time, from which the steps are planned once, before the first.",
    ),
]
Batch = Annotated[int, typer.Option(min=1, metavar="WINDOWS", rich_help_panel="Training", help="Windows a step.")]
LearningRate = Annotated[
    float, typer.Option(metavar="RATE", rich_help_panel="Training", help="At its highest; falls linearly to zero.")
]
Seed = Annotated[
    int, typer.Option(min=0, metavar="SEED", rich_help_panel="Training", help="Of everything that is random.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        rich_help_panel="Model and data",
        help="Train on N examples only, spread evenly, and score as many.",
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel="Distillation",
        help="Hugging Face folder whose outputs are learned too ('dense': MODEL itself).",
    ),
]
TeacherOverlay = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel="Distillation", help="As --overlay, for --teacher.")
]


class TrainingBar:
    """Shows stages, then a training as a bar; where standard error is no terminal, a line at a time."""

    def __init__(self, output: Output, title: str, quiet: bool) -> None:
        self._output, self._title, self._quiet = output, title, quiet
        self._tell: Callable[[str], None] = lambda text: None
        self._bar: Any = None

    @contextlib.contextmanager
    def shown(self) -> Iterator["TrainingBar"]:
        """While it is shown; afterwards the bar is gone."""
        from .output import _console

        console = _console(stderr=True)
        if self._quiet or not console.is_terminal:
            with self._output.progress(self._title) as tell:
                self._tell = tell
                yield self
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            self._bar, self._task = bar, bar.add_task(self._title, total=None, figures="")
            self._tell = lambda text: bar.update(self._task, description=f"{self._title}: {text}")
            yield self

    def stage(self, text: str) -> None:
        """Names what is being done."""
        self._tell(text)

    def step(self, step: "TrainingStep") -> None:
        """Shows where the training is."""
        figures = [f"step {step.step} of {step.steps}"]
        if step.loss is not None:
            figures.append(f"loss {step.loss:.3f}")
        if step.sparsity is not None:
            figures.append(f"{percent(step.sparsity)} zeros")
        if step.metric is not None:
            figures.append(f"metric {step.metric:.1f}")
        if step.tokens_per_second is not None:
            figures.append(f"{step.tokens_per_second:.0f} tokens/s")
        if self._bar is None:
            self._tell("training, " + ", ".join(figures))
        else:
            self._bar.update(self._task, total=step.steps, completed=step.step, figures=", ".join(figures[1:]))


def length_given(epochs: float | None, steps: int | None, minutes: float | None) -> bool:
    """Whether a training was asked for. Raises `typer.BadParameter` for more than one length."""
    given = [name for name, value in (("--epochs", epochs), ("--steps", steps), ("--minutes", minutes)) if value]
    if len(given) > 1:
        raise typer.BadParameter(f"give one of {' and '.join(given)}", param_hint=given[0])
    for name, value in (("--epochs", epochs), ("--steps", steps), ("--minutes", minutes)):
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"expected more than 0, found {value:g}", param_hint=name)
    return bool(given)


def check_training(
    model: str,
    overlay: Path | None,
    teacher: str | None,
    teacher_overlay: Path | None,
    learning_rate: float,
    *,
    trains: bool = True,
) -> None:
    """Raises `typer.BadParameter` for files and folders of a training that are not there, and values out of range;
    `TrainError` where something `trains` and a package for that is missing."""
    if not 0 < learning_rate < float("inf"):
        raise typer.BadParameter(f"expected more than 0, found {learning_rate:g}", param_hint="--learning-rate")
    check_model(model)
    check_file(overlay, "--overlay")
    if teacher_overlay is not None and teacher in (None, "dense"):
        raise typer.BadParameter("goes with --teacher DIR", param_hint="--teacher-overlay")
    check_file(teacher_overlay, "--teacher-overlay")
    if teacher not in (None, "dense"):
        check_model(str(teacher), "--teacher")
    if trains:
        from secateur.compression.train.run import check_packages

        check_packages()


def result_value(result: "TrainingResult") -> dict[str, Any]:
    """What `--json` prints of a training: `training.json` without its history."""
    record = {name: value for name, value in result.record.items() if name not in ("history", "job")}
    return {"out": str(result.out), **record, "layers": layer_zeros(result.module)}


def show_result(console: "Console", result: "TrainingResult") -> None:
    """Scores and length of a training, and the zeros of its layers where there are any."""
    record, layers = result.record, layer_zeros(result.module)
    if layers:
        rows = [(layer["name"], " x ".join(map(str, layer["shape"])), percent(layer["sparsity_fraction"]))
                for layer in layers]  # fmt: skip
        console.print(table(("layer", "shape", "zeros"), rows))
    scores = record["scores"]
    if scores is not None:
        columns = ("task", *scores["metrics"], "examples", "windows")
        values = [f"{value:.2f}" for value in scores["metrics"].values()]
        console.print(table(columns, [(record["task"], *values, str(scores["examples"]), str(scores["windows"]))]))
    console.print(
        f"wrote {result.out}: {record['steps']} steps, {record['epochs']:.3g} epochs, "
        f"{record['tokens'] / 1e6:.2f} M tokens, {record['minutes']:.1f} minutes",
        highlight=False,
    )


def layer_zeros(module: Any) -> list[dict[str, Any]]:
    """Name, shape and fraction of zeros of each linear layer or convolution of which more than 1 % are zeros (weights
    that were stored as f16 have some by chance)."""
    found = []
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if weight is not None and weight.ndim >= 2 and "embedding" not in name:
            zeros = float((weight == 0).double().mean())
            if zeros > 0.01:
                found.append({"name": name, "shape": list(weight.shape), "sparsity_fraction": zeros})
    return found
