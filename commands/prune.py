"""`secateur prune`: zeros into a Hugging Face folder, at once or while the model trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.compiler.measure.tables import percent, table
from secateur.compression.jobs.options import AT_ONCE, IN_TRAINING, Pruning

from .early_checks import check_folder_out, check_new_folder
from .number_options import Arithmetic, Weights
from .output import Debug, Json, Output, Quiet
from .pruning_checks import check_choice, check_data, check_place, check_rounding, check_scheme, check_sparsity
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
    length_given,
    result_value,
    show_result,
)

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = (
    "Example: secateur prune ./bert-squad -o ./bert-pruned --scheme bcr --block 4x1 --sparsity 0.8 --data squad "
    "--distill --epochs 1. Without data, by magnitude: secateur prune ./bert -o ./bert-pruned --sparsity 0.9"
)

RATES = ("uniform", "global", "loss")


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", rich_help_panel="Model and data", help="Hugging Face folder to write."
        ),
    ],
    sparsity: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="FRACTION",
            rich_help_panel="Sparsity",
            help="Fraction of each layer's weights to remove.",
        ),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(
            metavar="SCHEME",
            rich_help_panel="Sparsity",
            help="How the zeros lie: bcr, block, nm ...; an unknown name lists all.",
        ),
    ] = "bcr",
    block: Annotated[
        str | None,
        typer.Option(
            metavar="BLOCK", rich_help_panel="Sparsity", help="Sizes of the scheme: 4x1 (bcr), 64 (block), 2:4 (nm) ..."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            rich_help_panel="Sparsity",
            help="one-shot: by magnitude (default without --data). second-order: from some hundred inputs, what "
            "stays is corrected (default with --data); both train on with the zeros fixed where a length is given. "
            "admm, reweighted, gradual: while the model trains. fixed: only train, with the zeros that MODEL has.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="squad|sentiment|FILE",
            rich_help_panel="Model and data",
            help="What to calibrate and train on: a task, a task on data of your own (squad=FILE), or a text file "
            "with an input a line (second-order only).",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", rich_help_panel="Sparsity", help="Only layers whose name matches (may be repeated)."
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", rich_help_panel="Sparsity", help="Leave out matching layers too (may be repeated)."
        ),
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            metavar="RATES",
            rich_help_panel="Sparsity",
            help="uniform: the same sparsity in each layer (default for one-shot). global: one threshold over all. "
            "loss: by what each layer's pruning does to the outputs on --data (default for the other methods).",
        ),
    ] = None,
    target_latency: Annotated[
        str | None,
        typer.Option(
            metavar="20ms",
            rich_help_panel="Latency",
            help="Choose block and rates for this latency of the whole model, on --target.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            rich_help_panel="Latency",
            help="Where layers are timed: host-cpu, or qemu:CPU (cycles are counted). Without "
            "--target-latency only the block is chosen by it.",
        ),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="4x1,4x16,16x1", rich_help_panel="Latency", help="With --target: the blocks to choose from."
        ),
    ] = None,
    clock: Annotated[
        float | None,
        typer.Option(
            metavar="GHZ", rich_help_panel="Latency", help="With --target qemu:CPU and a latency: the core's clock."
        ),
    ] = None,
    arithmetic: Annotated[
        Arithmetic,
        typer.Option(
            rich_help_panel="Latency",
            help="With --target or --target-latency: what the model will be compiled with, and is timed in.",
        ),
    ] = Arithmetic.f32,
    samples: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", rich_help_panel="Model and data", help="second-order: inputs to calibrate on."
        ),
    ] = 256,
    weights: Annotated[
        Weights,
        typer.Option(
            rich_help_panel="Sparsity",
            help="second-order without a training: round what stays to what `compile --weights` stores, weights that "
            "are rounded later take up each rounding. Without --sparsity nothing else goes than MODEL's zeros.",
        ),
    ] = Weights.f32,
    teacher: Teacher = None,
    teacher_overlay: TeacherOverlay = None,
    distill: Annotated[
        bool,
        typer.Option(
            "--distill",
            rich_help_panel="Distillation",
            help="Learn from a teacher too: --teacher, or MODEL before it is pruned.",
        ),
    ] = False,
    overlay: Overlay = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = 32,
    learning_rate: LearningRate = 3e-4,
    seed: Seed = 0,
    limit: Limit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove weights of every encoder linear; embeddings, pooler and task heads stay whole.

    With a length (--epochs, --steps, --minutes) the model trains on a task; a training that was stopped, however, goes
    on when the same command is given again, and ends with the same weights.
    """
    check_sparsity(sparsity)
    method = method or ("one-shot" if data is None else "second-order")
    check_choice("--method", method, (*AT_ONCE, *IN_TRAINING))
    check_choice("--rates", rates or "uniform", RATES)
    trains = length_given(epochs, steps, minutes) or method in IN_TRAINING
    if data is None and (trains or method == "second-order" or rates == "loss"):
        wanted = "--rates loss" if rates == "loss" else f"--method {method}" if method != "one-shot" else "a training"
        raise typer.BadParameter(f"{wanted} needs data: squad, sentiment or a file", param_hint="--data")
    if not trains and (distill or teacher):
        raise typer.BadParameter(
            f"method {method} learns from a teacher when it trains: give --epochs", param_hint="--epochs"
        )
    rule = check_scheme(scheme, block, blocks)
    fixed = rule(rule.default).fixed_sparsity is not None
    check_rounding(weights, method, trains)
    chooses_rates = target_latency is not None or method == "fixed"
    rounds = weights is not Weights.f32
    only_rounds = rounds and not (fixed or chooses_rates) and sparsity is block is target is rates is None
    if sparsity is None and not (fixed or chooses_rates or only_rounds):
        raise typer.BadParameter(f"scheme '{scheme}' needs a fraction, for example 0.9", param_hint="--sparsity")
    if target_latency is not None and rates is not None:
        raise typer.BadParameter("a latency decides on the rates itself", param_hint="--rates")
    if fixed and rates in ("global", "loss"):
        raise typer.BadParameter(f"scheme '{scheme}' has the same sparsity in each layer", param_hint="--rates")
    if rates is None:
        rates = "uniform" if method in ("one-shot", "fixed") or fixed or chooses_rates or only_rounds else "loss"
    if method == "fixed":
        for option, given in (("--sparsity", sparsity), ("--block", block), ("--target", target or target_latency)):
            if given is not None:
                raise typer.BadParameter("method fixed keeps the zeros that MODEL has", param_hint=option)
    budget_ms = check_place(target, target_latency, blocks, clock, arithmetic)
    check_training(model, overlay, teacher, teacher_overlay, learning_rate, trains=trains)
    check_data(data, overlay, trains)
    (check_folder_out if trains else check_new_folder)(out)
    output = Output(as_json, quiet)
    with TrainingBar(output, f"pruning {model}", quiet).shown() as bar:
        from secateur.compression.jobs.pruning import prune_and_train, prune_at_once
        from secateur.compression.train.job import SCORED

        asked = Pruning(
            model=model,
            out=out,
            method=method,
            scheme=scheme,
            block=block,
            weights=weights.value,
            only_rounds=only_rounds,
            sparsity=sparsity,
            include=include or None,
            skip=skip or None,
            rates=rates,
            target=target or ("host-cpu" if budget_ms is not None else None),
            budget_ms=budget_ms,
            blocks=blocks.split(",") if blocks else None,
            clock_ghz=clock,
            arithmetic=arithmetic.value,
            data=data,
            samples=samples,
            overlay=overlay,
            seed=seed,
        )
        if trains:
            result, plan = prune_and_train(
                asked,
                bar,
                teacher=teacher or ("dense" if distill else None),
                teacher_overlay=teacher_overlay,
                epochs=epochs,
                steps=steps,
                minutes=minutes,
                batch=batch,
                learning_rate=learning_rate,
                limit=limit,
                score_limit=limit or SCORED,
            )
        else:
            report, plan = prune_at_once(asked, bar)
    plan_value = {"plan": plan.to_dict()} if plan is not None else {}

    def show(console: "Console") -> None:
        if plan is not None:
            from .plan_tables import render

            render(plan, console)
        if trains:
            show_result(console, result)
            return
        rows = []
        for layer in report.layers:
            error = getattr(layer, "output_error_fraction", None)
            rows.append((layer.name, " x ".join(map(str, layer.shape)), percent(layer.sparsity_fraction),
                         percent(layer.kept_norm_fraction), "" if error is None else percent(error)))  # fmt: skip
        columns = ("layer", "shape", "zeros", "norm kept", "output lost")
        used = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
        console.print(table(columns[:used], [row[:used] for row in rows]))
        console.print(f"wrote {out}: {percent(report.sparsity_fraction)} of the pruned layers' weights are zero")

    value = result_value(result) if trains else {**report.to_dict(), "out": str(out), "method": method}
    output.result({**value, **plan_value}, show)
