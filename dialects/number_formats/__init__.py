"""Number formats, by name: a file has what is known of one, and stands in one line here."""

import json
from pathlib import Path

from . import f16, f32, int8
from .number_format import (
    Arithmetic,
    NumberFormat,
    NumberFormatError,
    QuantizationError,
    Storage,
    Tolerance,
    largest_relative_error,
)
from .number_plan import NumberPlan

__all__ = [
    "ALL_F32",
    "ARITHMETICS",
    "F32",
    "STORAGES",
    "Arithmetic",
    "NumberFormat",
    "NumberFormatError",
    "NumberPlan",
    "QuantizationError",
    "Storage",
    "Tolerance",
    "format_of",
    "largest_relative_error",
    "layer_formats",
    "number_format",
    "parse_format",
]

_FORMATS = (f32, f16, int8)

STORAGES: dict[str, Storage] = {f.STORAGE.name: f.STORAGE for f in _FORMATS}
"""What weights may be stored as."""
ARITHMETICS: dict[str, Arithmetic] = {f.ARITHMETIC.name: f.ARITHMETIC for f in _FORMATS if hasattr(f, "ARITHMETIC")}
"""What layers may multiply and sum in."""
F32 = NumberFormat(f32.STORAGE, f32.ARITHMETIC)
ALL_F32 = NumberPlan(F32)


def format_of(arithmetic: str) -> NumberFormat:
    """The format of this arithmetic, with the first storage that it takes weights in. Raises `NumberFormatError`."""
    known = ARITHMETICS.get(arithmetic)
    return number_format(known.storages[0] if known and known.storages else "f32", arithmetic)


def number_format(weights: str = "f32", arithmetic: str = "f32") -> NumberFormat:
    """The format of these names. Raises `NumberFormatError` for a name that is none, or two that do not go together."""
    for what, name, known in (("weights", weights, STORAGES), ("arithmetic", arithmetic, ARITHMETICS)):
        if name not in known:
            raise NumberFormatError(f"unknown '{what}' {name!r}; accepted: {', '.join(known)}")
    chosen = ARITHMETICS[arithmetic]
    if chosen.storages and weights not in chosen.storages:
        takes = " or ".join(chosen.storages)
        raise NumberFormatError(f"arithmetic in {arithmetic} takes weights of {takes}, found weights of {weights}")
    return NumberFormat(STORAGES[weights], chosen)


def parse_format(text: str) -> NumberFormat:
    """The format of a text such as `f16`, or `int8 x int8`: weights, and arithmetic where it is not f32."""
    weights, _, arithmetic = text.partition(" x ")
    return number_format(weights, arithmetic or "f32")


def layer_formats(file: Path) -> tuple[tuple[str, NumberFormat], ...]:
    """Patterns of layer names and their formats, of a file such as `{"*.layer.0.*": "int8 x int8", "*.dense": "f16"}`.

    Raises `NumberFormatError` for a file that cannot be read or says something else.
    """
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise NumberFormatError(f"'{file}' cannot be read as JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise NumberFormatError(f"'{file}' is to be an object of JSON: a format such as 'int8 x int8' for each pattern")
    return tuple((pattern, parse_format(text)) for pattern, text in found.items())
