"""The driver: pipelines, pass manager, command lines and `compile_model`.

Names are imported when they are first used, so that `sparsity-opt` starts without PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .driver import CompiledModel, compile_model

__all__ = ["CompiledModel", "compile_model"]

_HOMES = {"CompiledModel": "driver", "compile_model": "driver"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
