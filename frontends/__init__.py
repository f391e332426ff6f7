"""PyTorch in: Hugging Face folders and modules become level 1 and a weight store.

Names are imported when they are first used, so that a command checks its options before PyTorch is there.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .axes import TensorSpec
    from .checkpoint import LoadedModel, example_inputs_for, load_model
    from .decoders.importing import import_decoder
    from .decoders.model import CHUNKS, Generation
    from .errors import FrontendError
    from .importer import CallForm, ImportedModel, import_model, prepare_context, unsupported_ops
    from .loading import Loaded, load
    from .private_copy import evaluation_copy
    from .unsupported import Unsupported

__all__ = [
    "CHUNKS",
    "CallForm",
    "FrontendError",
    "Generation",
    "ImportedModel",
    "Loaded",
    "LoadedModel",
    "TensorSpec",
    "Unsupported",
    "evaluation_copy",
    "example_inputs_for",
    "import_decoder",
    "import_model",
    "load",
    "load_model",
    "prepare_context",
    "unsupported_ops",
]

_HOMES = {
    "axes": ("TensorSpec",),
    "checkpoint": ("LoadedModel", "example_inputs_for", "load_model"),
    "errors": ("FrontendError",),
    "decoders.importing": ("import_decoder",),
    "decoders.model": ("CHUNKS", "Generation"),
    "importer": ("CallForm", "ImportedModel", "import_model", "prepare_context", "unsupported_ops"),
    "loading": ("Loaded", "load"),
    "private_copy": ("evaluation_copy",),
    "unsupported": ("Unsupported",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
