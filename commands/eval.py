"""`secateur eval`: how well a model does on a task, run by PyTorch or as a bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import table

from .early_checks import check_bundle, check_file_out, check_model, check_task, opens_as_bundle
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.tasks import Scores

EXAMPLE = "Example: secateur eval qa.bundle --task squad --limit 1000"

_WINDOW = 128


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundle (folder or .zip), or a Hugging Face folder for PyTorch.")
    ],
    task: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel="Data", help="squad (SQuAD v1.1) or sentiment (movie reviews)."),
    ],
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel="Data", help="Only N examples, spread evenly (default: all)."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Data",
            help="A file in the task's format, or a folder of them (default: downloaded).",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", rich_help_panel="Data", help="dev, train, or test (sentiment).")
    ] = "dev",
    window: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="TOKENS",
            rich_help_panel="Running",
            help=f"Tokens of a window (default: a bundle's length; PyTorch: {_WINDOW}).",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="TOKENS",
            rich_help_panel="Running",
            help="Tokens from one window to the next (default: half a window).",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="WINDOWS",
            rich_help_panel="Running",
            help="Windows at once (default: a bundle's batch; PyTorch: 32).",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, metavar="THREADS", rich_help_panel="Running", help="Threads to run on.")
    ] = 1,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            rich_help_panel="Data",
            help="Write answers by question id, as SQuAD's own script reads them.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score a model on a task: the same data, windows and metric whether PyTorch runs it or the bundle."""
    check_task(task, data, split)
    runs_bundle = opens_as_bundle(model)
    check_bundle(Path(model), "MODEL") if runs_bundle else check_model(model)
    check_file_out(predictions, "--predictions")
    output = Output(as_json, quiet)
    with output.progress(f"scoring {model}") as progress:
        from secateur.tasks import get_task, load_tokenizer

        progress("loading")
        chosen = get_task(task, data, progress)
        predict = _bundle(Path(model), threads, chosen) if runs_bundle else _module(model, threads, chosen)
        tokenizer = load_tokenizer(model)
        window = window or predict.window or _WINDOW
        scores = chosen.evaluate(
            predict,
            tokenizer,
            split=split,
            window=window,
            stride=stride or max(window // 2, 1),
            limit=limit,
            batch=batch,
            progress=lambda done, total: progress(f"running, {done} of {total} windows ({done / total:.0%})"),
        )
    if predictions is not None:
        from secateur.dialects.output_places import write_whole

        write_whole(predictions, json.dumps(scores.predictions, ensure_ascii=False, indent=0).encode())
    value = {
        "model": model,
        "runs": "bundle" if runs_bundle else "PyTorch",
        "threads": threads,
        "window": window,
        **scores.to_dict(),
        "predictions": str(predictions) if predictions else None,
    }
    output.result(value, lambda console: _show(console, value["runs"], threads, window, scores))


def _bundle(path: Path, threads: int, task: Any) -> Any:
    from secateur.tasks import bundle_predict

    predict = bundle_predict(path, threads)
    if predict.labels:
        task.check_labels(dict(enumerate(predict.labels)))
    return predict


def _module(folder: str, threads: int, task: Any) -> Any:
    import torch

    from secateur.frontends import load_model
    from secateur.tasks import torch_predict

    torch.set_num_threads(threads)
    loaded = load_model(folder)
    task.check_labels(getattr(loaded.config, "id2label", None) or {})
    return torch_predict(loaded.module)


def _show(console: "Console", runs: str, threads: int, window: int, scores: "Scores") -> None:
    columns = ("task", "split", *scores.metrics, "examples", "windows", "ms a window", "seconds")
    row = [scores.task, scores.split, *(f"{value:.2f}" for value in scores.metrics.values())]
    row += [str(scores.examples), str(scores.windows), f"{scores.ms_per_window:.2f}", f"{scores.seconds:.0f}"]
    console.print(table(columns, [row]))
    console.print(f"{runs}, {threads} thread(s), windows of {window} tokens; metrics in percent")
