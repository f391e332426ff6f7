"""What pruning a layer to a sparsity loses, as curves that rates are chosen by."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.compression.prune.projections import project
from secateur.compression.prune.scheme import Scheme

from .errors import LatencyError
from .shapes import Site
from .table import Curve

if TYPE_CHECKING:
    import torch

Importance = Callable[[str, float], float] | Mapping[str, Mapping[float, float]]
"""Loss of a module by name and sparsity: a function, or a table with losses at some sparsities."""


def removed_energy(module: "torch.nn.Module", scheme: Scheme) -> Callable[[str, float], float]:
    """Sum of squares of the weights that pruning by magnitude removes, over the mean square of the layer's weights: the
    number of average weights that are lost.

    Rationale: layers differ in scale for reasons that say nothing of their worth (a norm may follow). Compared by
    absolute squares, the layers with small weights would give nearly all of theirs.
    """
    import torch

    layers = dict(module.named_modules())

    def loss(name: str, sparsity: float) -> float:
        weight = layers[name].weight.detach().to(torch.float32).cpu().numpy()
        squares = np.square(weight, dtype=np.float64)
        return float(squares[~project(weight, scheme, sparsity)].sum() / (squares.mean() or 1.0))

    return loss


def loss_curves(
    sites: Sequence[Site],
    importance: Importance,
    sparsities: Sequence[float],
    progress: Callable[[str], None] = lambda stage: None,
) -> list[Curve]:
    """The loss of each site at each of `sparsities` (rising), the sum over its modules; made to never fall, and 0 at 0.

    Raises `LatencyError` where a table of losses lacks a module, or a loss is no finite number.
    """
    curves = []
    for number, site in enumerate(sites):
        progress(f"losses, layer {number + 1} of {len(sites)}")
        losses = [0.0] * len(sparsities)
        for name in site.modules:
            for position, loss in enumerate(_losses(importance, name, sparsities)):
                if not np.isfinite(loss):
                    raise LatencyError(
                        f"the loss of '{name}' at {sparsities[position]:g} is {loss}, and no finite number"
                    )
                losses[position] += loss
        curves.append(((0.0, *sparsities), (0.0, *np.maximum.accumulate(losses).tolist())))
    return curves


def _losses(importance: Importance, name: str, sparsities: Sequence[float]) -> list[float]:
    if callable(importance):
        return [float(importance(name, sparsity)) for sparsity in sparsities]
    if not importance.get(name):
        raise LatencyError(f"the losses that were given have none for layer '{name}'")
    known = sorted({0.0: 0.0, **importance[name]}.items())
    if known[-1][0] < sparsities[-1]:
        raise LatencyError(
            f"the losses of layer '{name}' end at a sparsity of {known[-1][0]:g}; "
            f"needed are some up to {sparsities[-1]:g}"
        )
    return np.interp(sparsities, [s for s, _ in known], [loss for _, loss in known]).tolist()
