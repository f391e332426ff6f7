"""The controllers by name."""

import importlib

from ..errors import SearchError
from ..measurement import Goal
from ..space import Space
from .controller import Controller

CONTROLLERS = {
    "random": ".random:Random",
    "genetic": ".genetic:Genetic",
    "reinforce": ".reinforce:Reinforce",
    "tpe": ".sampler:Tpe",
    "gp": ".sampler:Gp",
    "nsga2": ".sampler:Nsga2",
    "additive": ".additive:Additive",
}
"""Name -> module and class; a controller of one's own is named in the same way, as `my_module:MyController`."""


def make_controller(name: str, space: Space, goal: Goal, seed: int = 0) -> Controller:
    """The controller `name`, or the class of one's own that `module:Class` names.

    Raises `SearchError` for a name that is not known, and for a goal that the controller cannot search for.
    """
    module, _, kind = CONTROLLERS.get(name, name).partition(":")
    if not kind:
        raise SearchError(
            f"there is no controller '{name}'; accepted: {', '.join(CONTROLLERS)}, and module:Class", usage=True
        )
    try:
        made: Controller = getattr(importlib.import_module(module, __package__), kind)(space, goal, seed)
    except (ImportError, AttributeError) as error:
        raise SearchError(f"the controller '{name}' cannot be loaded: {error}", usage=True) from None
    return made
