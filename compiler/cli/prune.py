"""`secateur prune`: zeros into a Hugging Face folder."""

from pathlib import Path
from typing import Annotated

import typer

from .output import Debug, Json, Output, Quiet, percent, table

EXAMPLE = "Example: secateur prune ./bert -o ./bert-pruned --scheme bcr --block 4x16 --sparsity 0.9 --one-shot"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Hugging Face folder to write.")],
    sparsity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Fraction of each layer's weights to remove.")],
    scheme: Annotated[str, typer.Option(help="bcr, block, pattern, nm or unstructured.")] = "bcr",
    block: Annotated[str, typer.Option(metavar="ROWSxCOLUMNS", help="Size of a block.")] = "4x16",
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="By magnitude and without training: accuracy suffers at high sparsity.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove the weights of smallest magnitude from every encoder linear."""
    if not one_shot:
        raise typer.BadParameter("only pruning without training is available: add --one-shot", param_hint="--one-shot")
