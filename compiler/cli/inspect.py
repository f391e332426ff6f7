"""`secateur inspect`: what is in a model before it is compiled."""

import dataclasses
from typing import Annotated

import typer

from .output import Debug, Json, Output, Quiet, percent, size, table

EXAMPLE = "Example: secateur inspect ./pruned-bert --seq-len 128"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder.")],
    seq_len: Annotated[int, typer.Option(min=1, help="Tokens that FLOPs are counted for.")] = 128,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the encoding, sparsity, FLOPs and bytes of every linear layer."""
    output = Output(as_json, quiet)
    with output.progress(f"inspecting {model}") as progress:
        progress("loading")
        from secateur.compiler.inspect_model import inspect_model

        layers = [dataclasses.asdict(layer) for layer in inspect_model(model, seq_len=seq_len)]
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
