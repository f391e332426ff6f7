"""Smaller encoders cut out of a trained one: whole layers, attention heads and FFN neurons, what stays corrected.

Imports torch.
"""

from .architecture import Architecture
from .cutting import cut_model
from .depth import LayerOrder, layer_order
from .statistics import Statistics, collect

__all__ = ["Architecture", "LayerOrder", "Statistics", "collect", "cut_model", "layer_order"]
