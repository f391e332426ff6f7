"""The schemes: a file has what is known of one, and stands in one line here."""

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Any, TypeVar

from . import bcr, block, dense, filter, kgs, nm, pattern, punched, tile, unstructured
from .encoding import Encoding
from .pruning import Pruning, SchemeError

_Kind = TypeVar("_Kind", Encoding, Pruning)

# Of descriptions with as many bytes the first of these schemes is detected: the simplest to compute with.
_SCHEMES = (
    dense,
    block,
    bcr,
    tile,
    kgs,
    punched,
    pattern,
    nm,
    filter,
    unstructured,
)


def _defined(module: types.ModuleType, base: type[_Kind]) -> list[type[_Kind]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    return [value for value in found if value.__module__ == module.__name__]


ENCODINGS: dict[str, type[Encoding]] = {e.scheme: e for module in _SCHEMES for e in _defined(module, Encoding)}
"""The descriptions by scheme, in the order in which detection prefers them."""
PRUNINGS: dict[str, type[Pruning]] = {p.name: p for module in _SCHEMES for p in _defined(module, Pruning)}
"""What a weight can be pruned to, by scheme."""


def encoding_of(scheme: str, parameters: Mapping[str, Any]) -> Encoding:
    """The description with these fields, as `Encoding.parameters` gives them.

    Raises `ValueError` for an unknown scheme or a field that is missing, unknown or not positive.
    """
    if scheme not in ENCODINGS:
        raise ValueError(f"unknown scheme '{scheme}'; accepted: {', '.join(ENCODINGS)}")
    try:
        return ENCODINGS[scheme](**parameters)
    except TypeError:
        fields = [f.name for f in dataclasses.fields(ENCODINGS[scheme])]
        raise ValueError(f"expected {scheme} to have the fields {fields}, found {[*parameters]}") from None


def pruning_of(scheme: str) -> type[Pruning]:
    """What a weight is pruned to, by the scheme's name. Raises `SchemeError`."""
    if scheme not in PRUNINGS:
        near = difflib.get_close_matches(scheme, PRUNINGS, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise SchemeError(f"unknown scheme '{scheme}': {hint}accepted are {', '.join(PRUNINGS)}")
    return PRUNINGS[scheme]
