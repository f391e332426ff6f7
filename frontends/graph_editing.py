"""Adds calls to an exported graph."""

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node


def call_before(place: Node, target: OpOverload, *arguments: Any, like: Node | None = None) -> Node:
    """A call of `target` before `place`; its result's type is computed from its operands'.

    Its line of Python and its module are those of `like`, by default of `place`.
    """
    source = place if like is None else like
    with place.graph.inserting_before(place):
        made = place.graph.call_function(target, arguments)
    made.meta = {key: source.meta[key] for key in ("stack_trace", "nn_module_stack") if key in source.meta}
    operands = torch.fx.map_arg(arguments, lambda operand: operand.meta["val"])
    mode = next((n.meta["val"].fake_mode for n in made.all_input_nodes if hasattr(n.meta["val"], "fake_mode")), None)
    if mode is None:
        made.meta["val"] = target(*operands)
    else:
        with mode:
            made.meta["val"] = target(*operands)
    return made
