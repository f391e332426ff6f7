"""An embedding of words as two arrays: a narrow table, and a linear layer that widens what is read from it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .errors import FrontendError


class LowRankEmbedding(nn.Embedding):
    """Gives E[ids] of the table E = T P^T + b without making it: T [words, rank] is `weight`, P [features, rank] and
    b [features] are those of the linear layer `projection`.

    Source: ALBERT (Lan et al. 2019), section 3.1. It saves and trains as any module does; `load_model` knows it by the
    names of its weights.
    """

    def __init__(self, table: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__(*table.shape, _weight=table)
        self.projection = nn.Linear(weight.shape[1], weight.shape[0])
        self.projection.weight = nn.Parameter(weight)
        self.projection.bias = nn.Parameter(bias)

    def forward(self, input: torch.Tensor) -> Any:
        """[..., features] for ids [...]."""
        return self.projection(super().forward(input))

    @property
    def features(self) -> int:
        """The width of what it gives."""
        return self.projection.out_features


def restore_low_rank(module: nn.Module, weights: Callable[[str], torch.Tensor | None]) -> set[str]:
    """Makes the embeddings of a module that its checkpoint has as two arrays such ones, in place; `weights` gives those
    of a name, or None. Returns the names of their tables.

    Raises `FrontendError` where the arrays do not go together, or are not as wide as the module's embedding.
    """
    found = set()
    for name, embedding in list(module.named_modules()):
        names = [f"{name}.{part}" for part in ("weight", "projection.weight", "projection.bias")]
        if not isinstance(embedding, nn.Embedding) or weights(names[1]) is None:
            continue
        arrays = [array.float() for array in map(weights, names) if array is not None]
        shapes = [tuple(array.shape) for array in arrays]
        words, features = embedding.weight.shape
        rank = shapes[0][-1]
        if shapes != [(words, rank), (features, rank), (features,)]:
            raise FrontendError(
                f"'{name}' has arrays of the shapes {[list(shape) for shape in shapes]}, expected [{words}, rank],"
                f" [{features}, rank] and [{features}]"
            )
        holder, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(holder), attribute, LowRankEmbedding(*arrays))
        found.add(names[0])
    return found
