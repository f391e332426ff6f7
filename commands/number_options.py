"""The options for a number format, of all commands that compile."""

import enum
from typing import Annotated

import typer


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
