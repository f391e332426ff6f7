"""Where in the PyTorch model an op comes from: the module paths in its location.

The importer names the location of each op after the module that made it; passes fuse the locations of ops they join.
"""

from typing import Any


def module_paths(location: Any) -> tuple[str, ...]:
    """The module paths in a location of MLIR (of either build), in order, each once.

    A path that contains another of them is left out: of `encoder.layer.0.output.dense` and `encoder.layer.0.output` (an
    addition that was fused into the former) the former says more. Empty where the location names no module.
    """
    found: dict[str, None] = {}
    _collect(location, found)
    return tuple(path for path in found if not any(other.startswith(f"{path}.") for other in found))


def _collect(location: Any, found: dict[str, None]) -> None:
    kind = type(location).__name__
    if kind == "NameLoc":
        found[location.name_str] = None
    elif kind == "FusedLoc":
        for inner in location.locations:
            _collect(inner, found)
    elif kind == "CallSiteLoc":
        # An op that was inlined: its own place, and where that names no module the place of the call.
        own: dict[str, None] = {}
        _collect(location.callee, own)
        if not own:
            _collect(location.caller, own)
        found.update(own)
