"""`secateur bench --device`: a bundle timed on a phone or on this machine, or counted on an emulated CPU."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from secateur.compiler.measure.tables import size, table

from .output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compiler.measure.bench_device import DeviceLatency
    from secateur.compiler.measure.instruction_cost import InstructionCost


def parse_cores(text: str | None) -> tuple[int, ...]:
    """`4,5` or `4-7` -> core numbers. Raises `typer.BadParameter`."""
    found: list[int] = []
    for part in (text or "").split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise typer.BadParameter(f"expected core numbers such as 4,5 or 4-7, found '{text}'", param_hint="--cores")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(found)


def bench_on(
    bundle: Path,
    device: str,
    target: str | None,
    threads: int,
    runs: int,
    cores: tuple[int, ...],
    output: Output,
    *,
    mca: bool = False,
) -> None:
    """Times the bundle on the device and prints what was found. On an emulated CPU it counts, and with `mca` estimates
    cycles."""
    if device.partition(":")[0] == "qemu":
        return _count_on(bundle, device, target, mca, output)
    with output.progress(f"timing {bundle} on {device}") as progress:
        from secateur.compiler.measure.bench_device import bench_on_device

        found = bench_on_device(
            bundle, device, target=target, threads=threads, runs=runs, cores=cores, progress=progress
        )
    for note in found.notes:
        output.note(f"note: {note}")
    value = {"bundle": str(bundle), **dataclasses.asdict(found), "thermal_note": found.thermal_note()}
    output.result(value, lambda console: _show(console, found))


def _count_on(bundle: Path, device: str, target: str | None, mca: bool, output: Output) -> None:
    with output.progress(f"counting {bundle} on {device}") as progress:
        from secateur.compiler.measure.instruction_cost import CYCLES_NOTE, NOTE, count_bundle

        found = count_bundle(bundle, device, target=target, mca=mca, progress=progress)
    output.note(f"note: {NOTE}")
    if found.cycles is not None:
        output.note(f"note: {CYCLES_NOTE}")
    output.result(found.to_dict(), lambda console: _show_counts(console, found))


def _show_counts(console: "Console", found: "InstructionCost") -> None:
    columns = ["counts of one inference", "instructions", "loads", "stores", "multiply-adds"]
    parts = {f"kernels of {found.target}": found.kernels, "IREE's runtime around them": found.rest}
    rows = [[n, *(f"{v:,}" for v in (c.instructions, c.loads, c.stores, c.fmas))] for n, c in parts.items()]
    console.print(table(columns, rows))
    if found.fma_ratio is not None:
        console.print(f"multiply-adds over those that the model needs: {found.fma_ratio:.2f}", highlight=False)
    if found.cycles is not None:
        console.print(f"estimated cycles in kernels, by {found.cycle_model}: {found.cycles:,.0f}", highlight=False)


def _show(console: "Console", found: "DeviceLatency") -> None:
    done = found.deployment
    figures = [f"{ms:.2f}" for ms in (found.min_ms, found.median_ms, found.p90_ms)]
    console.print(table(["latency, ms", "min", "median", "p90"], [[f"{done.target} on {done.device}", *figures]]))
    cores = f"cores {', '.join(map(str, found.cores))}" if found.cores else "any core"
    console.print(f"{found.runs} runs, {found.threads} thread(s), {cores}", highlight=False)
    console.print(f"heat: {found.thermal_note()}", markup=False, highlight=False)
    pushed = sum(done.pushed.values())
    console.print(
        f"pushed {size(pushed)} before; self-test {done.self_test or 'not run'}", markup=False, highlight=False
    )
