"""Reweighted group lasso, as RT3D and the block-structured BERT pruning of the same group use it.

The loss gets lambda * sum_g |W_g| / (|W_g'|^2 + eps), W' being the weight when the factors were last refreshed: what is
small already is pressed harder, what is large is left alone (Candes, Wakin & Boyd 2008 for single weights; RT3D, arXiv
2007.09835, and Li et al. 2020, arXiv 2009.08065, for groups). Then the smallest groups are cut, and the rest of the
training keeps that mask.

Behind each step of the optimizer the penalty takes a proximal one, which is soft thresholding of the groups' norms (one
kind of groups after the other, where a scheme has two). lambda follows from the wanted sparsity: without a loss a
group of norm n is gone after the time n^3 / 3 + eps n over lambda (the integral of n^2 + eps), and lambda is such that
this is the phase for the group at the wanted quantile of the norms.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..groups import Tiling, tilings
from ..rates import global_rates
from ..scheme import PruneError
from .base import Method, Run, TrainedLayer, check_fraction, check_positive, phase_steps, update_interval

if TYPE_CHECKING:
    from torch.optim import Optimizer

_CUTS = ("layer", "global")


@dataclasses.dataclass(frozen=True)
class Reweighted(Method):
    """The penalty lasts for `penalty_fraction` of the training, the retraining for what is left.

    Norms are per weight (root mean square of the group) and relative to that of the layer. `strength` 1 is the lambda
    of above; with 2 that group would be gone after half of the phase. Factors: 1 / ((|W_g'| / |W'|)^exponent + eps),
    refreshed every `every` steps, or every `every_epochs` epochs, or `updates` times. `cut`: the wanted share of each
    layer is cut (layer), or one threshold cuts the wanted share of all (global).
    """

    name: ClassVar[str] = "reweighted"

    penalty_fraction: float = 0.6
    strength: float = 1.0
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
        self.scales: dict[str, float] = {}  # root mean squares of the weights at the start
        self.lambdas: dict[str, list[float]] = {}  # lambda for a step of the optimizer, for each kind of groups
        self.factors: dict[str, list[torch.Tensor]] = {}

    @torch.no_grad()
    def start(self) -> None:
        for layer in self.layers:
            self.scales[layer.name] = float(layer.weight.square().mean().sqrt()) or 1.0
            self.lambdas[layer.name] = [self._lambda(layer, tiling) for tiling in self.tilings[layer.name]]
        self._refresh()

    def _lambda(self, layer: TrainedLayer, tiling: Tiling) -> float:
        # Groups of each kind pull at a weight, and it stays where all of its groups do.
        kinds = len(self.tilings[layer.name])
        quantile = 1 - (1 - layer.wanted) ** (1 / kinds)
        norms = group_norms(layer.weight, tiling).flatten().sort().values / self.scales[layer.name]
        norm = float(norms[int(quantile * (len(norms) - 1))]) if quantile else 0.0
        power = self.options.exponent + 1
        return self.options.strength * (norm**power / power + self.options.eps * norm) / self.last / kinds

    @torch.no_grad()
    def _refresh(self) -> None:
        options = self.options
        for layer in self.layers:
            scale = self.scales[layer.name]
            self.factors[layer.name] = [
                scale * strength / ((group_norms(layer.weight, tiling) / scale) ** options.exponent + options.eps)
                for tiling, strength in zip(self.tilings[layer.name], self.lambdas[layer.name], strict=True)
            ]

    @torch.no_grad()
    def penalize(self) -> None:
        for layer in self.layers if self.factors else ():
            for tiling, factor in zip(self.tilings[layer.name], self.factors[layer.name], strict=True):
                norms = group_norms(layer.weight, tiling)
                left = torch.where(norms > factor, 1 - factor / norms, 0.0)
                layer.weight.mul_(tiling.spread(left, layer.weight.shape))

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

    def values(self) -> dict[str, Any]:
        return {**super().values(), "scales": self.scales, "lambdas": self.lambdas}

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        super().restore(tensors, values)
        self.scales, self.lambdas = dict(values["scales"]), dict(values["lambdas"])
        kinds = [self.of_prefix(tensors, f"factor{i}/") for i in range(2)]
        self.factors = {name: [kind[name] for kind in kinds if name in kind] for name in kinds[0]}


def group_norms(weight: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """The root mean square of each group."""
    return (tiling.sums(weight.square()) / tiling.sizes().to(weight.device)).sqrt()
