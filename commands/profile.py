"""`secateur profile`: where the time of a bundle goes, dispatch by dispatch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.compiler.measure.tables import percent, table

from .early_checks import check_bundle, check_file_out
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compiler.measure.profile import BundleProfile
    from secateur.compiler.measure.profile_rows import Row

EXAMPLE = "Example: secateur profile bert.bundle --threads 2 --scaling --html profile.html"


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    threads: Annotated[
        int, typer.Option(min=1, metavar="THREADS", rich_help_panel="Runs", help="Threads to run on.")
    ] = 1,
    scaling: Annotated[
        bool,
        typer.Option(
            "--scaling",
            rich_help_panel="Runs",
            help="Also run on one thread, in turns, and print each dispatch's speed-up.",
        ),
    ] = False,
    by_layer: Annotated[
        bool,
        typer.Option(
            "--by-layer",
            rich_help_panel="Report",
            help="One line per call in the order of execution, not one per kernel.",
        ),
    ] = False,
    runs: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel="Runs", help="Runs to time.")] = 50,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel="Report", help="Also write a page with a timeline and the tables."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show where a bundle's time goes, dispatch by dispatch.

    Prints time, work, the share of what this machine can do, and the modules of the model that each dispatch works for.
    """
    if scaling and threads == 1:
        raise typer.BadParameter("needs --threads of 2 or more, to compare one thread with", param_hint="--scaling")
    check_bundle(bundle)
    check_file_out(html, "--html")
    output = Output(as_json, quiet)
    with output.progress(f"profiling {bundle}") as progress:
        from secateur.compiler.measure.profile import RECOMPILE, profile

        found = profile(bundle, threads=threads, scaling=scaling, runs=runs, progress=progress)
        if html is not None:
            from secateur.compiler.measure.profile_html import page
            from secateur.dialects.output_places import write_whole

            progress("writing the page")
            write_whole(html, page(found).encode(errors="backslashreplace"))
    if not any(row.known for row in found.rows):
        output.note(f"note: {RECOMPILE}")
    output.result(found.to_dict(), lambda console: _show(console, found, by_layer))


def _show(console: "Console", found: "BundleProfile", by_layer: bool) -> None:
    rows = [*(found.rows if by_layer else found.by_kernel()), found.total]
    scaling = found.one_thread_latency_median_ms is not None
    columns = ["calls", "ms", "share"]
    if scaling:
        columns += ["1 thread", "speed-up", "at most", "busy", "groups"]
    else:
        columns += ["MFLOP", "weights", "indices", "read", "written"]
    columns += ["GFLOP/s", "GB/s", "FLOP/B", "roofline", "bound"]
    lines = [_line(row, found.total.median_ms, scaling) for row in rows]
    title = f"times and rates: medians of {found.runs} runs"
    console.print(table(("dispatch and module", *columns), lines, title=title))
    for sentence in summary(found):
        console.print(sentence, markup=False, highlight=False)


def _line(row: "Row", total_ms: float, scaling: bool) -> tuple[str, ...]:
    from secateur.compiler.measure.module_paths import short_path

    def figure(value: float | None, digits: int = 1, unit: str = "") -> str:
        return "?" if value is None else f"{value:.{digits}f}{unit}"

    is_total = row.kernel == "total"
    name = row.kernel if is_total or not row.paths else f"{row.kernel}\n  {short_path(row.paths)}"
    cells = [name, str(row.calls), f"{row.median_ms:.3f}", percent(row.median_ms / total_ms)]
    if scaling:
        cells += [figure(row.one_thread_median_ms, 3), figure(row.speedup, 2, "x")]
        cells += ["" if is_total else figure(row.most_speedup, 2, "x"), figure(row.busy_threads, 2)]
        cells += ["" if is_total else str(row.workgroups)]
    else:
        sizes = (row.weight_bytes, row.index_bytes, row.read_bytes, row.written_bytes)
        cells += [figure(None if row.flops is None else row.flops / 1e6)]
        cells += [f"{value / 1e6:.2f}" if row.known else "?" for value in sizes]
    share = None if row.roofline_fraction is None else 100 * row.roofline_fraction
    cells += [figure(row.gflops), figure(row.gb_s), figure(row.intensity), figure(share, 1, " %"), row.bound or "?"]
    return tuple(cells)


def summary(found: "BundleProfile") -> list[str]:
    """What stands below the table."""
    total = found.total
    lines = [
        f"A run takes {found.latency_median_ms:.2f} ms (profiler on): dispatches {total.median_ms:.2f}, outside of "
        f"dispatches {found.outside_ms:.2f}; {'on a GPU' if found.peak is None else f'{found.threads} thread(s)'}."
    ]
    if found.one_thread_latency_median_ms is None:
        lines.append("Weights, indices, activations read and written in MB.")
    else:
        lines.append(
            "at most: what handing out the workgroups (groups) to threads allows; busy: threads at work on average."
        )
        faster = found.one_thread_latency_median_ms / found.latency_median_ms
        lines.append(
            f"One thread: {found.one_thread_latency_median_ms:.2f} ms, {found.threads} threads: "
            f"{found.latency_median_ms:.2f} ms, {faster:.2f} times faster."
        )
    if total.flops is not None and total.gflops is not None:
        padding = f"; {total.padding_flops / 1e6:.1f} MFLOP more on padding" if total.padding_flops else ""
        on_bytes = f", {total.byte_flops / 1e9:.3f} of them on bytes" if total.byte_flops else ""
        share = "" if found.peak is None else f"; at {percent(total.compute_ms / total.median_ms)} of their peak"
        lines.append(f"Kept operations: {total.flops / 1e9:.3f} GFLOP{on_bytes}{share}{padding}.")
    return [*lines, *found.limits]
