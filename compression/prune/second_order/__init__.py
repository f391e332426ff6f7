"""Pruning from a few unlabelled inputs without training, the remaining weights corrected. Imports torch."""

from .allocation import LayerCosts, layer_costs, loss_rates
from .model import CalibratedPruning, prune_second_order

__all__ = ["CalibratedPruning", "LayerCosts", "layer_costs", "loss_rates", "prune_second_order"]
