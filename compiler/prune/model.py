"""Pruning of a whole PyTorch model, layer by layer, without training."""

import copy as copying
import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .projections import project
from .scheme import PruneError, Scheme

if TYPE_CHECKING:
    import torch

# What stands before and behind the encoder: few weights, and the most sensitive ones.
HEADS = (
    "*embedding*",
    "*pooler*",
    "*classif*",
    "*qa_outputs*",
    "*lm_head*",
    "*predictions*",
    "*vocab_*",
    "*score*",
    "*seq_relationship*",
    "cls.*",
)


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
) -> "tuple[torch.nn.Module, PruneReport]":
    """Prunes each linear layer of `module` (for `punched`: each convolution) to the same sparsity.

    `include` and `skip` are glob patterns of module names. A layer is pruned where a pattern of `include` matches
    and none of `skip` does. By default all but `HEADS` (embeddings, pooler, task heads); where `include`
    is given, only the `skip` that is given holds; where only `skip` is given, it is added to `HEADS`. A weight
    that several layers share is pruned once.
    Works on a copy unless `copy` is false; returns the module that was pruned, its mode unchanged. Weights under
    `torch.nn.utils.prune` keep the zeros that they have as far as the budget allows (they have no norm).
    `progress(done, total, name)` is called before each layer and once at the end.
    Raises `PruneError`, naming the layer, before anything is changed.
    """
    import torch

    kinds: tuple[type[torch.nn.Module], ...] = (torch.nn.Linear,)
    if scheme.name == "punched":
        kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    skipping = tuple(skip or ()) + (() if include is not None else HEADS)
    chosen: list[str] = []
    skipped: list[str] = []
    seen: set[int] = set()
    for name, layer in module.named_modules():
        if isinstance(layer, kinds):
            included = _matches(name, include if include is not None else ("*",))
            if not included or _matches(name, skipping):
                skipped.append(name)
            elif id(_parameter(layer)) not in seen:
                seen.add(id(_parameter(layer)))
                chosen.append(name)
    if not chosen:
        what = "convolution" if scheme.name == "punched" else "linear layer"
        raise PruneError(f"no {what} of the model is to be pruned: {len(skipped)} are left out by name")
    layers = dict(module.named_modules())
    masks, reports = {}, []
    for done, name in enumerate(chosen):
        if progress:
            progress(done, len(chosen), name)
        weight = layers[name].weight.detach().to(torch.float32).cpu().numpy()
        try:
            masks[name] = project(weight, scheme, sparsity)
        except PruneError as error:
            raise PruneError(f"layer '{name}': {error}") from None
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
    wanted = sparsity if sparsity is not None else 1 - scheme.sizes[0] / scheme.sizes[1]
    return module, PruneReport(str(scheme), wanted, reports, skipped)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _parameter(layer: "torch.nn.Module") -> "torch.Tensor":
    """The layer's weight, or what `torch.nn.utils.prune` computes it from."""
    original = getattr(layer, "weight_orig", None)
    return layer.weight if original is None else original  # type: ignore[return-value]


def _copy(module: "torch.nn.Module") -> "torch.nn.Module":
    """A deep copy. The weight under a pruning hook is a result of autograd, which deepcopy refuses: detached."""
    memo: dict[int, Any] = {}
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if hasattr(layer, "weight_orig") and weight is not None:
            memo[id(weight)] = weight.detach().clone()
    return copying.deepcopy(module, memo)


def _apply(layer: "torch.nn.Module", removed: "torch.Tensor") -> None:
    parameter = _parameter(layer)
    removed = removed.to(parameter.device)
    if parameter is not layer.weight:
        layer.weight_mask.masked_fill_(removed, 0)  # type: ignore[union-attr,operator]
        layer.weight = layer.weight.detach().masked_fill(removed, 0)  # type: ignore[union-attr,operator]
    parameter.masked_fill_(removed, 0)
