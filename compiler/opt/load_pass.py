"""`--load-pass`: passes from files that are not installed."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from secateur.passes import registry
from secateur.passes.base import Pass

from .flags import UsageError


def load_pass(reference: str) -> type[Pass]:
    """The class `module:Class`. Raises `UsageError` with the exception, and the line where its file raised it."""
    # An installed command does not search the current folder; a pass under development usually lies there.
    if "" not in sys.path:
        sys.path.append("")
    try:
        found = registry.load_class(reference)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"--load-pass={reference}: expected module:Class of a pass: {reason}{_at(error)}") from error
    if not found.name:
        raise UsageError(f"--load-pass={reference}: the class has no name")
    return found


def folders_of(references: Sequence[str]) -> tuple[str, ...]:
    """The folders from which Python imports the modules of passes that are loaded."""
    found = []
    for reference in references:
        module = reference.partition(":")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None:
            path = Path(file).resolve()
            above = module.count(".") + (path.name == "__init__.py")
            found.append(str(path.parents[above]))
    return tuple(dict.fromkeys(found))


def _at(error: Exception) -> str:
    """Where in the file of the pass, or in what it imports, the exception was raised."""
    if isinstance(error, SyntaxError):
        # Its own text names the file without its folder, and the line.
        return f" ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    inner = [f for f in frames if "importlib" not in f.filename and f.filename not in (__file__, registry.__file__)]
    return f" ({inner[-1].filename}:{inner[-1].lineno})" if inner else ""
