"""The driver: pipelines, pass manager, command lines and `compile_model`.

Names are imported when they are first used, so that `sparsity-opt` starts without PyTorch.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

if TYPE_CHECKING:
    from .driver import CompiledModel, compile_model

__all__ = ["CompiledModel", "compile_model"]

_HOMES = {"CompiledModel": "driver", "compile_model": "driver"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
