"""`secateur bench`: how long a bundle takes, in turns with PyTorch, stock IREE or every peer where asked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.compiler.measure.tables import table

from .bench_device import bench_on, parse_cores
from .early_checks import check_bundle, check_device, check_model, check_targets, opens_as_bundle
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.benchmarks.peers.contest import Outcome
    from secateur.compiler.measure.timing import Latency

EXAMPLE = "Example: secateur bench bert.bundle --model ./pruned-bert --stock-iree"


def command(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip. With --ablate also a model.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            rich_help_panel="Compared with",
            help="The Hugging Face folder it was made of, to time PyTorch too.",
        ),
    ] = None,
    stock_iree: Annotated[
        bool,
        typer.Option(
            "--stock-iree",
            rich_help_panel="Compared with",
            help="With --model: also compile it dense with stock IREE's best flags.",
        ),
    ] = False,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            rich_help_panel="Compared with",
            help="With --model: beside every engine that `make bench-peers` installed, each in a "
            "process of its own (their environments: $SECATEUR_PEERS, or .venv-peers).",
        ),
    ] = False,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            rich_help_panel="Compared with",
            help="What each optimisation of the model's sparse layers is worth.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            rich_help_panel="Device",
            help="Deploy it there and time it there: adb:SERIAL (adb: the one phone that is attached) or local. On "
            "qemu:CPU, an emulated CPU, instructions are counted instead.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T", rich_help_panel="Device", help="With --device: whose code (default: as `deploy` chooses)."
        ),
    ] = None,
    cores: Annotated[
        str | None,
        typer.Option(
            metavar="4-7",
            rich_help_panel="Device",
            help="With --device: CPU cores to keep it on (default: the fastest).",
        ),
    ] = None,
    mca: Annotated[
        bool,
        typer.Option(
            "--mca",
            rich_help_panel="Device",
            help="With --device qemu:CPU: also estimate cycles of the hot loops by llvm-mca.",
        ),
    ] = False,
    seq_len: Annotated[
        int,
        typer.Option(
            min=1, metavar="TOKENS", rich_help_panel="Runs", help="With --ablate and a model: tokens of a sequence."
        ),
    ] = 128,
    threads: Annotated[
        int, typer.Option(min=1, metavar="THREADS", rich_help_panel="Runs", help="Threads of every candidate.")
    ] = 1,
    rounds: Annotated[int, typer.Option(min=3, metavar="N", rich_help_panel="Runs", help="Interleaved rounds.")] = 30,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time a bundle on random inputs of its full size."""
    compared = {"--stock-iree": stock_iree, "--peers": peers}
    for option, given in compared.items():
        if given and model is None:
            raise typer.BadParameter("needs --model, to compile it from", param_hint=option)
    on_device = {"--target": target is not None, "--cores": cores is not None, "--mca": mca}
    others = {**compared, "--ablate": ablate, "--model": model is not None}
    if device is not None:
        _refuse(others, "is timed on this machine and does not go with --device")
        check_device(device)
        if mca and device.partition(":")[0] != "qemu":
            raise typer.BadParameter("goes with --device qemu:CPU", param_hint="--mca")
    else:
        _refuse(on_device, "goes with --device")
    if ablate:
        _refuse(compared, "does not go with --ablate, which compares with PyTorch")
    check_targets([target] if target is not None else ())
    core_numbers = parse_cores(cores)
    if opens_as_bundle(bundle) or not ablate:
        check_bundle(bundle)
        if ablate and model is None:
            raise typer.BadParameter("a bundle needs --model, to compile its stages from", param_hint="--ablate")
    else:
        check_model(str(bundle))
    if model is not None:
        check_model(model, "--model")
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    output = Output(as_json, quiet)
    if device is not None:
        return bench_on(bundle, device, target, threads, rounds, core_numbers, output, mca=mca)
    if ablate:
        from .ablate import ablate_model

        return ablate_model(bundle, model, seq_len, threads, rounds, output)
    with output.progress(f"timing {bundle}") as progress:
        from secateur.benchmarks import bench
        from secateur.compiler.measure.timing import ratio

        outcome = None
        if peers and model is not None:
            outcome = bench.bench_beside_peers(bundle, model=model, threads=threads, rounds=rounds, progress=progress)
            if "secateur" in outcome.skipped:
                raise bench.BenchError(f"the bundle cannot be timed: {outcome.skipped['secateur']}")
            latencies = {name: entry.latency for name, entry in outcome.entries.items()}
        else:
            latencies = bench.bench_bundle(
                bundle, model=model, with_stock_iree=stock_iree, threads=threads, rounds=rounds, progress=progress
            )
    others = {name: ratio(latency, latencies["secateur"]) for name, latency in latencies.items() if name != "secateur"}
    value = {
        "bundle": str(bundle),
        "threads": threads,
        "latency_ms": {name: vars(latency) for name, latency in latencies.items()},
        "times_faster_than": others,
    }
    if outcome is not None:
        value["relative_l2"] = {name: entry.relative_l2 for name, entry in outcome.entries.items()}
        value["versions"] = {name: entry.versions for name, entry in outcome.entries.items()}
        value["skipped"] = outcome.skipped
        _note(output, outcome)
    output.result(value, lambda console: _show(console, latencies, others, threads, outcome))


def _refuse(given: dict[str, bool], why: str) -> None:
    """Raises `typer.BadParameter` for the first option that is given."""
    for option, value in given.items():
        if value:
            raise typer.BadParameter(why, param_hint=option)


def _show(
    console: "Console",
    latencies: "dict[str, Latency]",
    others: dict[str, float],
    threads: int,
    outcome: "Outcome | None",
) -> None:
    columns = ["latency, ms", "min", "p25", "median", "secateur is faster by"]
    rows = []
    for name, latency in sorted(latencies.items(), key=lambda item: item[1].median_ms):
        row = [name, *(f"{ms:.2f}" for ms in (latency.min_ms, latency.p25_ms, latency.median_ms))]
        row.append(f"{others[name]:.2f}x" if name in others else "")
        if outcome is not None:
            row.append(f"{outcome.entries[name].relative_l2:.0e}")
        rows.append(row)
    if outcome is not None:
        columns.append("L2 from PyTorch")
    console.print(table(columns, rows))
    console.print(f"{latencies['secateur'].runs} interleaved runs, {threads} thread(s)")


def _note(output: Output, outcome: "Outcome") -> None:
    """One sentence per reason why engines did not take part."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in outcome.skipped.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        output.note(f"note: {', '.join(names)} did not take part: {reason}")
