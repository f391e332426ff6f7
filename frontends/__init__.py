"""PyTorch in: Hugging Face folders and modules become level 1 and a weight store."""

from .axes import TensorSpec
from .checkpoint import LoadedModel, example_inputs_for, load_model
from .errors import FrontendError
from .importer import ImportedModel, import_model, prepare_context
from .unsupported import Unsupported, unsupported_ops

__all__ = [
    "FrontendError",
    "ImportedModel",
    "LoadedModel",
    "TensorSpec",
    "Unsupported",
    "example_inputs_for",
    "import_model",
    "load_model",
    "prepare_context",
    "unsupported_ops",
]
