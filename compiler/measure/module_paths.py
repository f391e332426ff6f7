"""Module paths of a PyTorch model as a person reads them: several as one, equal layers as one, the layer of each."""

import re
from collections.abc import Sequence


def short_path(paths: Sequence[str]) -> str:
    """Module paths as one: `encoder.layer.0.attention.self.query/key/value`; commas between those that differ more."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        parent, _, last = path.rpartition(".")
        groups.setdefault(parent, []).append(last)
    return ", ".join((f"{parent}." if parent else "") + "/".join(last) for parent, last in groups.items())


def summarise_paths(calls: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The paths of several calls, with `*` for the numbers in which they differ (layers)."""
    shapes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for paths in dict.fromkeys(calls):
        shapes.setdefault(tuple(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path) for path in paths), []).append(paths)
    found: dict[str, None] = {}
    for general, exact in shapes.items():
        found.update(dict.fromkeys(exact[0] if len(exact) == 1 else general))
    return tuple(found)


def layer_of(paths: Sequence[str]) -> str:
    """The numbered part of a model that a call belongs to: `encoder.layer.3`; empty where there is none."""
    for path in paths:
        match = re.match(r"(.*?\.\d+)(\.|$)", path)
        if match:
            return match.group(1)
    return ""
