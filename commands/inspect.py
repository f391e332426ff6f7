"""`secateur inspect`: what is in a model before it is compiled, and in a bundle."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.compiler.measure.tables import percent, size, table

from .early_checks import check_bundle, check_model, opens_as_bundle
from .inspect_bundle import inspect_bundle
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compiler.inspect.fusion import FusionReport

EXAMPLE = (
    "Example: secateur inspect ./pruned-bert --seq-len 128. "
    "What is fused, and why not: secateur inspect ./pruned-bert --fusion"
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder, or a bundle.")],
    seq_len: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", help="Tokens that FLOPs and bytes are counted for.")
    ] = 128,
    fusion: Annotated[
        bool, typer.Option("--fusion", help="Show what is fused with what instead, and why the rest is not.")
    ] = False,
    plan: Annotated[
        str,
        typer.Option(
            metavar="PLAN", help="With --fusion: variants of fusion sites, as residual=separate,... or a *.json file."
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the encoding, sparsity, FLOPs and bytes of every linear layer, or what is fused; or a bundle's targets."""
    if plan and not fusion:
        raise typer.BadParameter("--plan needs --fusion")
    output = Output(as_json, quiet)
    if opens_as_bundle(model):
        if fusion:
            raise typer.BadParameter("a bundle does not tell what was fused: give the model's folder")
        check_bundle(Path(model), "MODEL")
        return inspect_bundle(model, output)
    from secateur.compiler.inspect.model import is_weight_store

    if fusion or not is_weight_store(model):
        check_model(model)
    with output.progress(f"inspecting {model}") as progress:
        progress("loading")
        if fusion:
            from secateur.compiler.inspect.fusion import inspect_fusion

            report = inspect_fusion(model, seq_len=seq_len, plan=plan)
        else:
            from secateur.compiler.inspect.model import inspect_model

            layers = [dataclasses.asdict(layer) for layer in inspect_model(model, seq_len=seq_len)]
    if fusion:
        output.result(dataclasses.asdict(report), lambda console: _show_fusion(console, report))
        return
    rows = [
        (
            layer["name"],
            f"{layer['rows']} x {layer['columns']}",
            layer["encoding"],
            percent(layer["sparsity_fraction"]),
            f"{layer['dense_flops'] / 1e6:.1f}",
            f"{layer['kept_flops'] / 1e6:.1f}",
            size(layer["dense_bytes"]),
            size(layer["packed_bytes"]),
            size(layer["csr_bytes"]),
        )
        for layer in layers
    ]
    columns = ("layer", "shape", "encoding", "zeros", "MFLOP dense", "kept", "dense", "packed", "CSR")
    output.result({"layers": layers}, lambda console: console.print(table(columns, rows)))


def _show_fusion(console: "Console", report: "FusionReport") -> None:
    """Sites, edges and rewrites; equal ones of several layers in one row with their number."""
    sites: dict[tuple[str, ...], list[int]] = {}
    refused: Counter[tuple[str, str, str]] = Counter()
    for site in report.sites:
        name, others = _numberless(site.id), ", ".join(v for v in site.variants if v != site.variant)
        counted = sites.setdefault((name, site.variant, others or "-"), [0, 0])
        counted[0] += 1
        counted[1] += site.intermediate_bytes
        refused.update((name, variant, why) for variant, why in site.refused.items())
    rows = [
        (name, str(count), variant, others, size(saved)) for (name, variant, others), (count, saved) in sites.items()
    ]
    console.print(
        table(("site", "times", "variant", "other variants", "intermediates saved"), rows, title="Fusion sites")
    )
    rows = [(name, str(count), variant, why) for (name, variant, why), count in refused.items()]
    console.print()
    console.print(table(("site", "times", "variant", "why not"), rows, title="Variants that are not legal"))
    for title, fused in (("Fused", True), ("Not fused", False)):
        edges = Counter(
            (
                f"{_short(edge.producer)} -> {_short(edge.consumer)}",
                f"{edge.producer_class or '?'} -> {edge.consumer_class or '?'}",
                edge.verdict,
                edge.reason,
            )
            for edge in report.edges
            if edge.fused == fused
        )
        rows = [(ops, str(count), classes, verdict, why) for (ops, classes, verdict, why), count in edges.items()]
        console.print()
        console.print(table(("ops", "times", "classes", "table", "variant" if fused else "why not"), rows, title=title))
    done = [f"{r.name.replace('-', ' ')}: {r.count} ({r.summary})" for r in report.rewrites if r.count]
    console.print()
    console.print("Rewrites: " + ("; ".join(done) or "none applies"), markup=False, highlight=False)
    console.print(f"Intermediate tensors that are not stored: {size(report.intermediate_bytes)}", highlight=False)


def _numberless(name: str) -> str:
    """A site's id with numbers of layers as `*`, so that equal layers share a row."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name.partition("#")[0])


def _short(op: str) -> str:
    return op.removeprefix("sparsity.")
