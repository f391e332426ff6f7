"""`secateur bench`: how long a bundle takes, in turns with PyTorch and stock IREE where asked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import Debug, Json, Output, Quiet, table

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "Example: secateur bench bert.bundle --model ./pruned-bert --stock-iree"


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The Hugging Face folder it was made of, to time PyTorch too.")
    ] = None,
    stock_iree: Annotated[
        bool, typer.Option("--stock-iree", help="With --model: also compile it dense with stock IREE's best flags.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every candidate.")] = 1,
    rounds: Annotated[int, typer.Option(min=3, help="Interleaved rounds.")] = 30,
    profile: Annotated[bool, typer.Option("--profile", help="Also print the time of every dispatch.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time a bundle on random inputs of its full size."""
    if stock_iree and model is None:
        raise typer.BadParameter("needs --model, to compile it from", param_hint="--stock-iree")
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    output = Output(as_json, quiet)
    with output.progress(f"timing {bundle}") as progress:
        from secateur.compiler.bench import bench_bundle
        from secateur.compiler.timing import ratio

        latencies = bench_bundle(
            bundle, model=model, with_stock_iree=stock_iree, threads=threads, rounds=rounds, progress=progress
        )
        dispatches = []
        if profile:
            progress("profiling")
            from secateur.runtime_targets.bundle import open_bundle
            from secateur.runtime_targets.profile import profile_bundle

            dispatches = profile_bundle(open_bundle(bundle), threads=threads)
    ours = latencies["secateur"]
    others = {name: ratio(latency, ours) for name, latency in latencies.items() if name != "secateur"}
    value = {
        "bundle": str(bundle),
        "threads": threads,
        "latency_ms": {name: vars(latency) for name, latency in latencies.items()},
        "times_faster_than": others,
        "dispatches": [vars(dispatch) for dispatch in dispatches],
    }

    def show(console: "Console") -> None:
        rows = [
            (name, *(f"{ms:.2f}" for ms in (latency.min_ms, latency.p25_ms, latency.median_ms)),
             f"{others[name]:.2f}x" if name in others else "")
            for name, latency in latencies.items()
        ]  # fmt: skip
        console.print(table(("latency, ms", "min", "p25", "median", "secateur is faster by"), rows))
        console.print(f"{ours.runs} interleaved runs, {threads} thread(s)")
        if dispatches:
            total = sum(d.total_ms for d in dispatches)
            rows = [(d.name, str(d.count), f"{d.total_ms / d.count:.3f}", f"{100 * d.total_ms / total:.1f} %")
                    for d in dispatches]  # fmt: skip
            console.print(table(("dispatch", "calls", "ms a call", "share"), rows))

    output.result(value, show)
