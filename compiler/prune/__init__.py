"""One-shot magnitude pruning: projections onto each scheme, and whole models. Torch is imported on use only."""

from .model import HEADS, LayerPruning, PruneReport, prune_model
from .projections import project
from .scheme import SCHEMES, PruneError, Scheme, parse_scheme

__all__ = [
    "HEADS",
    "SCHEMES",
    "LayerPruning",
    "PruneError",
    "PruneReport",
    "Scheme",
    "parse_scheme",
    "project",
    "prune_model",
]
