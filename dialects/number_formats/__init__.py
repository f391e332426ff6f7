"""Number formats, by name: a file has what is known of one, and stands in one line here."""

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

__all__ = [
    "ARITHMETICS",
    "F32",
    "STORAGES",
    "Arithmetic",
    "NumberFormat",
    "NumberFormatError",
    "QuantizationError",
    "Storage",
    "Tolerance",
    "format_of",
    "largest_relative_error",
    "number_format",
]

_FORMATS = (f32, f16, int8)

STORAGES: dict[str, Storage] = {f.STORAGE.name: f.STORAGE for f in _FORMATS}
"""What weights may be stored as."""
ARITHMETICS: dict[str, Arithmetic] = {f.ARITHMETIC.name: f.ARITHMETIC for f in _FORMATS if hasattr(f, "ARITHMETIC")}
"""What layers may multiply and sum in."""
F32 = NumberFormat(f32.STORAGE, f32.ARITHMETIC)


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
