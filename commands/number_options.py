"""The options for a number format, of all commands that compile."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from .early_checks import told_of


class Weights(enum.StrEnum):
    """What weights of layers and tables are stored as: `dialects/number_formats` without importing it for `--help`."""

    f32 = "f32"
    f16 = "f16"
    int8 = "int8"


class Arithmetic(enum.StrEnum):
    """What layers multiply and sum in."""

    f32 = "f32"
    f16 = "f16"
    int8 = "int8"


StoredWeights = Annotated[
    Weights,
    typer.Option(rich_help_panel="Code", help="Store weights as they are, in f16, or in int8 with a scale per row."),
]
LayerArithmetic = Annotated[
    Arithmetic,
    typer.Option(
        rich_help_panel="Code",
        help="Multiply in f32; in int8, beside weights of int8 (CPUs, and GPUs by name); in f16, beside weights of f16 "
        "(Arm CPUs from cortex-a55 on, and GPUs by name, which hand activations on in f16 too).",
    ),
]
LayerFormats = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel="Code",
        help='Formats of single layers: JSON such as {"*.layer.0.*": "int8 x int8", "*.query": "f16"} (weights x '
        "arithmetic by patterns of module names; the first that fits counts).",
    ),
]


def formats_from(file: Path | None) -> dict[str, str] | None:
    """The formats of layers as `compile_model` takes them."""
    if file is None:
        return None
    from secateur.dialects.number_formats import layer_formats

    with told_of("--formats"):
        return {pattern: str(found) for pattern, found in layer_formats(file)}
