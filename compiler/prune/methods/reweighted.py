"""Reweighted group lasso, as RT3D and the block-structured BERT pruning of the same group use it.

The loss gets lambda * sum_g |W_g| / (|W_g'|^2 + eps), W' being the weight when the factors were last refreshed: what is
small already is pressed harder, what is large is left alone (Candes, Wakin & Boyd 2008 for single weights; RT3D, arXiv
2007.09835, and Li et al. 2020, arXiv 2009.08065, for groups). Then the smallest groups are cut, and the rest of the
training keeps that mask.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..rates import global_rates
from ..scheme import PruneError
from .base import Method, Run, TrainedLayer, check_fraction, check_positive, phase_steps, update_interval
from .groups import Tiling, tilings

if TYPE_CHECKING:
    from torch.optim import Optimizer

_CUTS = ("layer", "global")


@dataclasses.dataclass(frozen=True)
class Reweighted(Method):
    """The penalty lasts for `penalty_fraction` of the training, the retraining for what is left.

    Norms are per weight (root mean square of the group) and relative to that of the layer, so that `strength` is what
    the penalty adds to the gradient of each weight of an average group, in any layer and for groups of any size:
    strength / ((|W_g'| / |W'|)^exponent + eps). The factors are refreshed every `every` steps, or every
    `every_epochs` epochs, or `updates` times. `cut`: the wanted share of each layer is cut (layer), or one threshold
    cuts the wanted share of all (global).
    """

    name: ClassVar[str] = "reweighted"

    penalty_fraction: float = 0.6
    strength: float = 1e-4
    eps: float = 1e-2
    exponent: float = 2.0
    updates: int = 8
    every: int | None = None
    every_epochs: float | None = None
    cut: str = "layer"

    def __post_init__(self) -> None:
        check_fraction("penalty_fraction", self.penalty_fraction)
        for option in ("strength", "eps", "exponent", "updates", "every", "every_epochs"):
            check_positive(option, getattr(self, option))
        if self.cut not in _CUTS:
            raise PruneError(f"'cut' is one of {', '.join(_CUTS)}, found '{self.cut}'")

    def begin(self, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None) -> "ReweightedRun":
        return ReweightedRun(self, layers, steps, steps_per_epoch)


class ReweightedRun(Run):
    """Factors by layer and tiling while the penalty lasts; masks behind it."""

    def __init__(self, options: Reweighted, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None):
        super().__init__(layers, steps)
        self.options = options
        self.last = phase_steps("penalty_fraction", options.penalty_fraction, steps)
        self.every = update_interval(options, self.last, steps_per_epoch)
        self.tilings = {layer.name: tilings(layer.scheme, tuple(layer.weight.shape)) for layer in layers}
        self.factors: dict[str, list[torch.Tensor]] = {}

    def start(self) -> None:
        self._refresh()

    @torch.no_grad()
    def _refresh(self) -> None:
        options = self.options
        for layer in self.layers:
            scale = root_mean_square(layer.weight) or 1.0
            self.factors[layer.name] = [
                options.strength / ((group_norms(layer.weight, tiling) / scale) ** options.exponent + options.eps)
                for tiling in self.tilings[layer.name]
            ]

    @torch.no_grad()
    def add_gradients(self, step: int) -> None:
        super().add_gradients(step)
        for layer in self.layers if self.factors else ():
            if layer.weight.grad is None:
                layer.weight.grad = torch.zeros_like(layer.weight)
            for tiling, factor in zip(self.tilings[layer.name], self.factors[layer.name], strict=True):
                norms = group_norms(layer.weight, tiling)
                # Where a group is zero the norm has no gradient; zero is a subgradient.
                scales = torch.where(norms > 0, factor / norms, 0.0)
                layer.weight.grad.addcmul_(layer.weight, tiling.spread(scales, layer.weight.shape))

    def update(self, step: int, optimizer: "Optimizer | None") -> None:
        if step == self.last:
            self._end(optimizer)
        elif step < self.last and step % self.every == 0:
            self._refresh()

    def finish(self, optimizer: "Optimizer | None" = None) -> None:
        if self.done < self.last:
            self._end(optimizer)
        super().finish(optimizer)

    def _end(self, optimizer: "Optimizer | None") -> None:
        self.factors = {}
        if self.options.cut == "layer":
            self.prune(optimizer)
            return
        weights = {layer.name: layer.weight.detach().cpu().numpy() for layer in self.layers}
        wanted = sum(layer.wanted * layer.weight.numel() for layer in self.layers)
        sparsity = wanted / sum(layer.weight.numel() for layer in self.layers)
        self.prune(optimizer, dict(global_rates(weights, self.layers[0].scheme, sparsity)))

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        penalty = 0.0
        for name, factors in self.factors.items():
            layer = next(layer for layer in self.layers if layer.name == name)
            for tiling, factor in zip(self.tilings[name], factors, strict=True):
                sizes = tiling.sizes().to(factor.device)
                penalty += float((factor * group_norms(layer.weight, tiling) * sizes).sum())
        return {**super().figures(), "penalty": penalty}

    def tensors(self) -> dict[str, torch.Tensor]:
        factors = {f"factor{i}/{name}": f for name, many in self.factors.items() for i, f in enumerate(many)}
        return {**super().tensors(), **factors}

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        super().restore(tensors, values)
        kinds = [self.of_prefix(tensors, f"factor{i}/") for i in range(2)]
        self.factors = {name: [kind[name] for kind in kinds if name in kind] for name in kinds[0]}


def group_norms(weight: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """The root mean square of each group."""
    return (tiling.sums(weight.square()) / tiling.sizes().to(weight.device)).sqrt()


def root_mean_square(weight: torch.Tensor) -> float:
    """That of all weights."""
    return float(weight.norm()) / math.sqrt(weight.numel())
