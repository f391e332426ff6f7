"""`secateur tune`: the fastest schedule of every layer, found on this machine and kept."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.compiler.measure.tables import table

from .durations import seconds_of
from .early_checks import check_bundle, check_device, check_model, check_targets, told_of
from .number_options import Arithmetic, LayerArithmetic, StoredWeights, Weights
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = (
    "Example: secateur tune ./pruned-bert --budget 10m, and then secateur compile ./pruned-bert -o bert.bundle. "
    "An interrupted search goes on with --resume; records of others come in with --import BUNDLE. For a phone: "
    "--target android-arm64:cortex-a76 --device qemu:cortex-a76."
)


class Sampler(enum.StrEnum):
    """How candidates are chosen."""

    ga = "ga"
    tpe = "tpe"
    random = "random"


class Counted(enum.StrEnum):
    """What is made small on an emulated CPU."""

    counts = "counts"
    cycles = "cycles"


def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Hugging Face folders."),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            rich_help_panel="Target",
            help="Machine to tune for; it has to be this one, unless --device counts for it.",
        ),
    ] = "host-cpu",
    device: Annotated[
        str | None,
        typer.Option(
            metavar="qemu:CPU",
            rich_help_panel="Target",
            help="Count on this emulated Arm CPU, instead of timing here: no phone is needed.",
        ),
    ] = None,
    objective: Annotated[
        Counted,
        typer.Option(
            rich_help_panel="Target",
            help="With --device: make instructions + loads small, or the cycles that llvm-mca estimates.",
        ),
    ] = Counted.counts,
    seq_len: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", rich_help_panel="Target", help="Tokens of the longest sequence.")
    ] = 128,
    batch: Annotated[
        int, typer.Option(min=1, metavar="SEQUENCES", rich_help_panel="Target", help="Sequences of the largest batch.")
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(min=1, metavar="THREADS", rich_help_panel="Target", help="Threads that the model will run on."),
    ] = 1,
    weights: StoredWeights = Weights.f32,
    arithmetic: LayerArithmetic = Arithmetic.f32,
    trials: Annotated[
        int,
        typer.Option(
            min=1, metavar="SCHEDULES", rich_help_panel="Search", help="Schedules to try for each kind of layer."
        ),
    ] = 64,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", rich_help_panel="Search", help="Time for all searches of a model: 90s, 10min, 1h30m."
        ),
    ] = None,
    sampler: Annotated[
        Sampler,
        typer.Option(rich_help_panel="Search", help="Genetic algorithm, tree-structured Parzen estimator, or random."),
    ] = Sampler.ga,
    seed: Annotated[int, typer.Option(min=0, metavar="SEED", rich_help_panel="Search", help="Of the sampler.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel="Search",
            help="Candidates to compile at once (default: one per CPU). One is timed.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel="Search", help="Go on with searches that were cut off: their trials count."
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", rich_help_panel="Search", help="Search anew for layers that were tuned before.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare",
            rich_help_panel="Whole model",
            help="Also time the whole model with and without the result.",
        ),
    ] = True,
    panels: Annotated[
        bool,
        typer.Option(
            "--panels/--no-panels",
            rich_help_panel="Whole model",
            help="Also compare sizes of panels, on the whole model.",
        ),
    ] = True,
    imported: Annotated[
        list[Path] | None,
        typer.Option(
            "--import", metavar="BUNDLE", rich_help_panel="Search", help="First add the records that a bundle carries."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Search for the fastest schedule of every layer; `secateur compile` uses what was found."""
    if not models and not imported:
        raise typer.BadParameter("name a model to tune, or a bundle with --import")
    budget_seconds = seconds_of(budget, "--budget") if budget is not None else None
    check_targets([target])
    if device is not None:
        check_device(device)
    elif objective is not Counted.counts:
        raise typer.BadParameter("goes with --device", param_hint="--objective")
    for path in imported or ():
        check_bundle(path, "--import")
    from secateur.runtime_targets.found_instead import is_bundle

    for model in models or ():
        if is_bundle(model):
            raise typer.BadParameter(
                f"'{model}' is a bundle, which holds finished code; give the Hugging Face folder that it was made of "
                "to `secateur tune`, then to `secateur compile`, or take over the bundle's records: "
                f"secateur tune --import {model}",
                param_hint="MODEL",
            )
        check_model(model)
    output = Output(as_json, quiet)
    from secateur.compiler.records.objective import TIME, Objective
    from secateur.compiler.tune import TuneOptions, tune_model
    from secateur.compiler.tune.bundles import import_records
    from secateur.compiler.tune.tuner import check_runs_here
    from secateur.dialects.number_formats import number_format
    from secateur.runtime_targets.targets import get_target

    given: dict[str, Any] = {"objective": Objective(objective.value, device)} if device else {}
    given["budget_seconds"] = budget_seconds
    given["numbers"] = number_format(weights.value, arithmetic.value)
    if jobs is not None:
        given["jobs"] = jobs
    with told_of("--device" if device else "--target"):
        check_runs_here(get_target(target, workers=threads), given.get("objective", TIME))
    options = TuneOptions(sampler=sampler.value, trials=trials, seed=seed, resume=resume, again=again, **given)
    added: dict[str, dict[str, int]] = {}
    reports = []
    for path in imported or ():
        added[str(path)] = import_records(path)
    for model in models or ():
        with output.progress(f"tuning {model}") as progress:
            report = tune_model(
                model,
                target=target,
                seq_len=seq_len,
                batch=batch,
                threads=threads,
                options=options,
                panels=panels,
                compare=compare,
                progress=progress,
            )
        reports.append(report.to_dict())
    output.result({"imported": added, "models": reports}, lambda console: _show(console, added, reports))


def _show(console: "Console", added: dict[str, dict[str, int]], reports: list[dict[str, Any]]) -> None:
    for path, counts in added.items():
        for machine, count in counts.items():
            console.print(f"{count} new record(s) for {machine} from {path}", markup=False)
    for report in reports:
        timed = report["objective"] == "time"
        what = "ms" if timed else report["objective"].partition(" ")[0]
        columns = ("layer", "layers", "shape", "trials", "failed", f"default, {what}", f"best, {what}")
        columns += ("speed-up" if timed else "default / best", "schedule")
        rows = [
            (
                layer["name"],
                str(layer["count"]),
                f"{layer['rows']} x {layer['columns']}",
                _trials(layer),
                str(layer["failed"]),
                *(f"{layer[name]:{'.3f' if timed else ',.0f'}}" for name in ("default_cost", "best_cost")),
                f"{layer['speedup']:.2f}x",
                ", ".join(f"{name} {value}" for name, value in layer["schedule"].items()),
            )
            for layer in report["layers"]
        ]
        console.print(table(columns, rows, title=report["model"]))
        if report["variants"]:
            chosen = [
                (v["name"], str(v["count"]), v["default"], v["chosen"], _times(v["ratios"])) for v in report["variants"]
            ]
            console.print(table(("choice", "sites", "default", "chosen", f"{what} / default's"), chosen))
        times = report["model_ms"]
        if times:
            console.print(
                f"whole model: {times['default']:.2f} ms before, {times['tuned']:.2f} ms after "
                f"({times['default'] / times['tuned']:.2f}x), medians of runs in turns"
            )
        if not timed:
            console.print(f"{report['objective']}: exact counts or estimates of kernels, and no times", markup=False)
        console.print(f"{report['seconds']:.0f} s; records in {report['records']}", markup=False, soft_wrap=True)


def _trials(layer: dict[str, Any]) -> str:
    if not layer["trials"]:
        return "none, no time left" if not layer["reused"] else "none, on record"
    return f"{layer['trials']} (on record)" if layer["reused"] else str(layer["trials"])


def _times(ratios: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {'failed' if ratio is None else format(ratio, '.2f')}" for name, ratio in ratios.items())
