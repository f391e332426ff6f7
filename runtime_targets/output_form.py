"""Outputs by name as the value that the model returned: the names of a tuple's items are paths."""

import re
from collections.abc import Mapping
from typing import Any

PREFIX = "output_"


def as_returned(outputs: Mapping[str, Any], form: str) -> Any:
    """One output (`tensor`), a flat dict by name (`dict`), or a tuple (`tuple`, `tuple:N`).

    The item `output_1.0` is the first of the second item. Items that no output names are None; N is the tuple's length.
    Outputs with names of their own are the items of a flat tuple.
    """
    if form == "tensor":
        return next(iter(outputs.values()))
    if form == "dict":
        return dict(outputs)
    if not all(re.match(rf"{PREFIX}\d+(\.|$)", name) for name in outputs):
        return tuple(outputs.values())
    tree: dict[str, Any] = {}
    for name, value in outputs.items():
        *path, last = name.removeprefix(PREFIX).split(".")
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[last] = value
    return _nested(tree, int(form.partition(":")[2] or 0))


def _nested(node: Any, length: int = 0) -> Any:
    if not isinstance(node, dict):
        return node
    items = {step: _nested(inner) for step, inner in node.items()}
    if not all(step.isdigit() for step in items):
        return items
    length = max([length, *(int(step) + 1 for step in items)])
    return tuple(items.get(str(index)) for index in range(length))
