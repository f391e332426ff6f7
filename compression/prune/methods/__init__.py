"""Methods of pruning while a model trains, by name. Torch is needed; nothing here knows of a particular trainer."""

import dataclasses
import difflib
from typing import Any

from ..scheme import PruneError
from .admm import Admm
from .base import Method, Run, TrainedLayer
from .fixed import Fixed
from .gradual import Gradual
from .reweighted import Reweighted

METHODS: dict[str, type[Method]] = {method.name: method for method in (Admm, Reweighted, Gradual, Fixed)}

__all__ = ["METHODS", "Admm", "Fixed", "Gradual", "Method", "Reweighted", "Run", "TrainedLayer", "make_method"]


def make_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """The method of that name with its options. Raises `PruneError` for a name or an option that does not exist."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise PruneError(f"unknown method '{name}': {hint}accepted are {', '.join(METHODS)}")
    method = METHODS[name]
    accepted = [field.name for field in dataclasses.fields(method)]  # type: ignore[arg-type]
    for option in options or {}:
        if option not in accepted:
            known = ", ".join(accepted) if accepted else "none"
            raise PruneError(f"method '{name}' has no option '{option}': accepted are {known}")
    return method(**(options or {}))
