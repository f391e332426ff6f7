"""PyTorch in: Hugging Face folders and modules become level 1 and a weight store."""

from .axes import TensorSpec
from .checkpoint import LoadedModel, example_inputs_for, load_model
from .errors import FrontendError
from .importer import ImportedModel, import_model, prepare_context, unsupported_ops
from .loading import Loaded, load
from .private_copy import evaluation_copy
from .unsupported import Unsupported

__all__ = [
    "FrontendError",
    "ImportedModel",
    "Loaded",
    "LoadedModel",
    "TensorSpec",
    "Unsupported",
    "evaluation_copy",
    "example_inputs_for",
    "import_model",
    "load",
    "load_model",
    "prepare_context",
    "unsupported_ops",
]
