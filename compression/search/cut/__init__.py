"""Smaller encoders cut out of a trained one: layers, heads, FFN neurons, hidden features.

Imports torch.
"""

from .architecture import Architecture
from .cutting import cut_model
from .depth import LayerOrder, layer_order
from .statistics import Statistics, collect

__all__ = ["Architecture", "LayerOrder", "Statistics", "collect", "cut_model", "layer_order"]
