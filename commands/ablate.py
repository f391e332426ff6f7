"""The table of `secateur bench --ablate`: what each optimisation of the sparse layers is worth."""

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.compiler.measure.tables import percent, size, table

from .early_checks import opens_as_bundle
from .output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compiler.measure.ablate import Ablation

_COLUMNS = (
    "stage", "padding", "", "loads of x", "weights a load", "indices", "MFLOP", "median ms", "x previous", "x first",
    "x PyTorch",
)  # fmt: skip


def ablate_model(path: Path, model: str | None, seq_len: int, threads: int, rounds: int, output: Output) -> None:
    """Prints the table for a Hugging Face folder `path`, or for a bundle `path` that was made of `model`."""
    batch = 1
    with output.progress(f"ablation of {path}") as progress:
        if opens_as_bundle(path):
            from secateur.runtime_targets.bundle import open_bundle

            with open_bundle(path) as bundle:
                shapes = [spec.shape for spec in bundle.manifest.function().inputs]
            batch, seq_len = next(((s[0], s[1]) for s in shapes if len(s) >= 2), (batch, seq_len))
        progress("loading")
        from secateur.compiler.measure.ablate import ablate

        source = model or str(path)
        found = ablate(source, seq_len=seq_len, batch=batch, threads=threads, rounds=rounds, progress=progress)
    for stage in found.stages:
        if stage.note:
            output.note(f"note: '{stage.stage}' did not run: {stage.note}")
    output.result({"model": source, **found.to_dict()}, lambda console: _show(console, found))


def _show(console: "Console", found: "Ablation") -> None:
    from secateur.compiler.measure.ablate import PYTORCH

    rows = []
    for stage, speedup in zip(found.stages, found.speedups(), strict=True):
        if stage.latency is None or speedup is None:
            continue
        rows.append((
            stage.stage, str(stage.padding_values), percent(stage.padding_fraction), str(stage.loads),
            f"{stage.weights_per_load:.2f}", size(stage.index_bytes),
            f"{(stage.flops + stage.padding_flops) / 1e6:.1f}",
            f"{stage.latency.median_ms:.2f}", *(f"{times:.2f}" for times in speedup),
        ))  # fmt: skip
    rows.append((PYTORCH, *[""] * 6, f"{found.pytorch.median_ms:.2f}", "", "", "1.00"))
    console.print(table(_COLUMNS, rows))
    for stage in found.stages:
        if stage.latency is not None:
            console.print(f"{stage.stage}: {stage.adds}", markup=False, highlight=False)
    console.print(
        "padding: zeros and repeated rows that are packed, of the kept weights; loads: vectors of x per vector of "
        f"tokens, all layers. {found.runs} interleaved runs, {found.threads} thread(s), outputs verified.",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
