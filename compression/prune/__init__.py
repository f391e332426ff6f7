"""Pruning: projections onto each scheme, whole models by magnitude, and methods that prune while a model trains.

Torch is imported on use only; `PruningCallback` and what goes with it when they are first named.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

from .layers import HEADS, prunable_layers
from .model import LayerPruning, PruneReport, prune_model
from .projections import project
from .rates import global_rates, layer_rates
from .scheme import SCHEMES, PruneError, Scheme, parse_scheme

if TYPE_CHECKING:
    from .callback import PruningCallback
    from .methods import METHODS
    from .methods.state import newest_checkpoint

__all__ = [
    "HEADS",
    "METHODS",
    "SCHEMES",
    "LayerPruning",
    "PruneError",
    "PruneReport",
    "PruningCallback",
    "Scheme",
    "global_rates",
    "layer_rates",
    "newest_checkpoint",
    "parse_scheme",
    "project",
    "prunable_layers",
    "prune_model",
]

_HOMES = {"PruningCallback": "callback", "METHODS": "methods", "newest_checkpoint": "methods.state"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
