"""Pruning of a whole PyTorch model, layer by layer, without training."""

import copy as copying
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .layers import prunable_layers, weight_parameter
from .projections import project
from .rates import layer_rates, wanted_fraction
from .scheme import PruneError, Scheme

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True)
class LayerPruning:
    """A pruned layer: weight shape, fraction of it that is zero now, fraction of its norm (L2) that was kept."""

    name: str
    shape: tuple[int, ...]
    sparsity_fraction: float
    kept_norm_fraction: float


@dataclasses.dataclass(frozen=True)
class PruneReport:
    """What `prune_model` did. `skipped`: the names of prunable layers that the patterns left out."""

    scheme: str
    wanted_sparsity: float
    layers: list[LayerPruning]
    skipped: list[str]

    @property
    def sparsity_fraction(self) -> float:
        """Zeros over all weights of the pruned layers."""
        sizes = [int(np.prod(layer.shape)) for layer in self.layers]
        zeros = sum(size * layer.sparsity_fraction for size, layer in zip(sizes, self.layers, strict=True))
        return zeros / sum(sizes)

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON has."""
        return {**dataclasses.asdict(self), "sparsity_fraction": self.sparsity_fraction}


def prune_model(
    module: "torch.nn.Module",
    scheme: Scheme,
    sparsity: float | None = None,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    copy: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
    rates: Mapping[str, float] | None = None,
) -> "tuple[torch.nn.Module, PruneReport]":
    """Prunes each layer of `module` that `scheme` is for to the same sparsity, or to its own.

    `include` and `skip` choose the layers (see `prunable_layers`); `rates` gives layers by name or pattern a sparsity
    of their own (see `layer_rates`; `global_rates` finds some). A weight that several layers share is pruned once.
    Works on a copy unless `copy` is false; returns the module that was pruned, its mode unchanged. Weights under
    `torch.nn.utils.prune` keep the zeros that they have as far as the budget allows (they have no norm).
    `progress(done, total, name)` is called before each layer and once at the end.
    Raises `PruneError`, naming the layer, before anything is changed.
    """
    import torch

    layers, skipped = prunable_layers(module, scheme, include, skip)
    chosen = list(layers)
    wanted = layer_rates(chosen, sparsity, rates)
    masks, reports = {}, []
    for done, name in enumerate(chosen):
        if progress:
            progress(done, len(chosen), name)
        weight = layers[name].weight.detach().to(torch.float32).cpu().numpy()
        try:
            masks[name] = project(weight, scheme, wanted[name])
        except PruneError as error:
            raise PruneError(f"layer '{name}': {error}", usage=error.usage) from None
        norm = float(np.linalg.norm(weight))
        kept = float(np.linalg.norm(weight * masks[name])) / norm if norm else 1.0
        zeros = 1 - float(np.count_nonzero(weight * masks[name])) / weight.size
        reports.append(LayerPruning(name, tuple(weight.shape), zeros, kept))
    if progress:
        progress(len(chosen), len(chosen), "")
    if copy:
        module = _copy(module)
        layers = dict(module.named_modules())
    with torch.no_grad():
        for name, mask in masks.items():
            _apply(layers[name], torch.from_numpy(~mask))
    sizes = {report.name: int(np.prod(report.shape)) for report in reports}
    return module, PruneReport(str(scheme), wanted_fraction(scheme, wanted, sizes), reports, skipped)


def _copy(module: "torch.nn.Module") -> "torch.nn.Module":
    """A deep copy. The weight under a pruning hook is a result of autograd, which deepcopy refuses: detached."""
    memo: dict[int, Any] = {}
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if hasattr(layer, "weight_orig") and weight is not None:
            memo[id(weight)] = weight.detach().clone()
    return copying.deepcopy(module, memo)


def _apply(layer: "torch.nn.Module", removed: "torch.Tensor") -> None:
    parameter = weight_parameter(layer)
    removed = removed.to(parameter.device)
    if parameter is not layer.weight:
        layer.weight_mask.masked_fill_(removed, 0)  # type: ignore[union-attr,operator]
        layer.weight = layer.weight.detach().masked_fill(removed, 0)  # type: ignore[union-attr,operator]
    parameter.masked_fill_(removed, 0)
