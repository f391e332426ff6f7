"""How many bytes a candidate's weights take, from what it says alone."""

import math

import numpy as np
from torch import nn

from secateur.dialects.number_formats import NumberFormat

from ..cut.encoder import Encoder
from ..spaces.plan import Plan


def weight_bytes(plan: Plan, dense: nn.Module) -> float:
    """Bytes of the weights and tables that are not zero, as the plan stores them, and of biases and norms in f32.

    Indices and scales, a small part of that, are known once a model is compiled.
    """
    encoder = Encoder(dense)
    hidden = plan.hidden or encoder.hidden
    inside = {id(parameter) for parameter in encoder.layers.parameters()}
    kept = vectors = 0.0
    words = dense.get_input_embeddings()  # type: ignore[operator]
    width = hidden if words.embedding_dim == encoder.hidden else words.embedding_dim
    if plan.embedding is not None:
        # The table that is left, and what widens it, take the place of one.
        kept += plan.embedding * (words.num_embeddings + width) - width * words.num_embeddings
        vectors += width
    for parameter in dense.parameters():
        if id(parameter) not in inside:
            # Whatever is as wide as the stream becomes as wide as that.
            size = math.prod(hidden if length == encoder.hidden else length for length in parameter.shape)
            if parameter.dim() > 1:
                kept += size
            else:
                vectors += size
    stored = kept * _bytes(plan.numbers)
    for layer in plan.layers:
        features = layer.heads * encoder.head_size(layer.number)
        sizes = {"qkv": 3 * features, "output": features, "ffn_in": layer.ffn, "ffn_out": layer.ffn}
        for kind, size in sizes.items():
            weights = size * hidden * (1 - layer.pruning[kind][1] if kind in layer.pruning else 1)
            stored += weights * _bytes(layer.numbers.get(kind, plan.numbers))
        # The biases of the two that read, and two norms.
        vectors += 3 * features + layer.ffn + 6 * hidden
    return stored + 4 * vectors


def _bytes(numbers: NumberFormat) -> int:
    return np.dtype(numbers.storage.dtype).itemsize
