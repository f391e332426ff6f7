"""`secateur search`: architectures, schemes and rates for a latency, found with compiled code in the loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .durations import seconds_of
from .early_checks import check_folder_out, check_model, check_task, told_of
from .output import Debug, Json, Output, Quiet
from .pruning_checks import check_choice
from .search_limits import check_measured_target, limits_of
from .search_output import finish, progress_words, reference_of, write

EXAMPLE = (
    "Example: secateur search ./bert-squad --task squad --latency 3ms,4ms,6ms --budget 2h -o ./found. The same command "
    "goes on where it ended, several at once share the work, and secateur search --report ./found shows what was found."
)
_TRAIN = {"none": ("short", "full"), "short": ("full",), "full": ()}
# How many candidates are drawn to learn which layers the table of latencies needs first.
_DRAWN = 128


def command(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A Hugging Face folder, trained on the task.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel="Model and data",
            help="Folder of the search: its journal, models, report.",
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            metavar="squad|sentiment", rich_help_panel="Model and data", help="What candidates are scored on."
        ),
    ] = "squad",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel="Model and data", help="The task on data of your own, with its labels."
        ),
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            rich_help_panel="Search",
            help="What to choose: architecture, hidden (its width), embeddings (factored), compression (per kind of "
            "layer), layers (per layer), uniform; several with commas.",
        ),
    ] = "architecture,compression",
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="3ms,4ms",
            rich_help_panel="Search",
            help="Latencies to keep, each with a winner of its own; without them the front of error and latency. On an "
            "emulated CPU numbers of instructions: 300Minstructions.",
        ),
    ] = None,
    controller: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Search",
            help="reinforce, genetic, tpe, gp, nsga2, random, additive, or module:Class of your own.",
        ),
    ] = "genetic",
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", rich_help_panel="Search", help="Time to search, of all drivers: 90s, 2h."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel="Search", help="Candidates to propose at most.")
    ] = None,
    train: Annotated[
        str,
        typer.Option(metavar="none|short|full", rich_help_panel="Training", help="The longest training of the best."),
    ] = "full",
    epochs: Annotated[
        float, typer.Option(min=0.0, metavar="N", rich_help_panel="Training", help="Epochs of the full training.")
    ] = 3.0,
    seed: Annotated[
        int, typer.Option(min=0, metavar="SEED", rich_help_panel="Search", help="Of everything drawn.")
    ] = 0,
    target: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            rich_help_panel="Machines",
            help="Where latencies are measured; qemu:MODEL counts instructions.",
        ),
    ] = "host-cpu",
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            rich_help_panel="Machines",
            help="Before the search, tune kernels of the layers that there may be for so long: 10min.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, metavar="THREADS", rich_help_panel="Machines", help="Threads that the model runs on.")
    ] = 1,
    seq_len: Annotated[
        int, typer.Option(min=8, metavar="TOKENS", rich_help_panel="Machines", help="Tokens of a window.")
    ] = 128,
    jobs: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel="Machines", help="Candidates to evaluate at once here.")
    ] = 1,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel="Machines",
            help="Candidates under way in all drivers (default: 2 x jobs + 2).",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", rich_help_panel="Machines", help="Evaluate on this Ray cluster (auto: the one here)."
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel="Report",
            help="Write the report of a search and end; of further ones only how they grew.",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=28.9ms,f1=79.4",
            rich_help_panel="Report",
            help="A model to show beside the candidates (may be repeated).",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Search for the best architecture, schemes and rates of a model within latencies that are measured."""
    output = Output(as_json, quiet)
    beside = [reference_of(text) for text in reference or ()]
    if report:
        write(output, report, beside)
        return
    if model is None or out is None:
        raise typer.BadParameter("name a model to search from and a folder with -o, or a search with --report")
    figure, limits = limits_of(latency, target)
    if budget is None and candidates is None:
        raise typer.BadParameter("give a time, such as 2h, or a number of --candidates", param_hint="--budget")
    seconds = seconds_of(budget, "--budget") if budget is not None else None
    tune_seconds = seconds_of(tune, "--tune") if tune is not None else None
    check_choice("--train", train, tuple(_TRAIN))
    check_measured_target(target, threads)
    check_task(task, data, "dev")
    check_model(model)
    check_folder_out(out)
    with output.progress(f"searching from {model}") as tell:
        from secateur.compression.search.controllers import make_controller
        from secateur.compression.search.evaluation import ModelEvaluator, Recipe
        from secateur.compression.search.halving import Budget
        from secateur.compression.search.measurement import Goal, Limit, Objective
        from secateur.compression.search.part import Without
        from secateur.compression.search.scaled import scaled_evenly
        from secateur.compression.search.search import JOURNAL, search
        from secateur.compression.search.spaces import space_named
        from secateur.compression.train.task_model import load_task_model
        from secateur.tasks import get_task

        goals = [Goal((Objective("error"),), (Limit(figure, most),)) for most in limits]
        goals = goals or [Goal((Objective("error"), Objective(figure)))]
        tell("loading")
        module, _ = load_task_model(model, get_task(task, data))
        with told_of("--space"):
            searched = space_named(space, module)
        with told_of("--controller"):
            make_controller(controller, searched, goals[0], seed)
        judge = ModelEvaluator(
            model,
            task,
            out,
            full=Recipe(epochs=epochs),
            data=data,
            window=seq_len,
            seed=seed,
            target=target,
            threads=threads,
        )
        if ray is None and not (out / JOURNAL).exists():
            _measure_layers(judge, searched, seed, tune_seconds, tell)
        evaluator = Without(judge, _TRAIN[train])
        pool = None
        if ray is not None:
            from secateur.compression.search.workers.ray import RayPool

            pool = RayPool(evaluator, ray)
        trials = search(
            searched,
            evaluator,
            goals,
            out,
            budget=Budget(candidates, seconds),
            controller=controller,
            seed=seed,
            workers=jobs,
            at_once=at_once,
            first=scaled_evenly(searched),
            about=judge.about(),
            pool=pool,
            progress=lambda progress: tell(progress_words(progress, goals, seconds)),
        )
    finish(output, out, trials, judge, beside)


def _measure_layers(judge: Any, space: Any, seed: int, tune_seconds: float | None, tell: Callable[[str], None]) -> None:
    """What the table of latencies lacks is measured many layers at a time, before candidates ask one by one, with
    kernels that are tuned before."""
    import numpy as np

    generator = np.random.default_rng(seed)
    candidates = [space.sample(generator) for _ in range(_DRAWN)]
    if tune_seconds is not None:
        tell("tuning layers")
        judge.tune_layers(candidates, tune_seconds)
    tell("measuring layers")
    judge.measure_layers(candidates)
