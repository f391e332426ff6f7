"""What pruning each layer alone does to a model's outputs, and rates that do least."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from secateur.compiler.prune import PruneError, Scheme, project

from .distillation import model_inputs

_STEP = 0.02
_LONGEST = 0.98


@torch.no_grad()
def layer_losses(
    module: torch.nn.Module,
    batches: Sequence[Mapping[str, "np.ndarray | torch.Tensor"]],
    scheme: Scheme,
    sparsity: float,
    layers: Mapping[str, torch.nn.Module],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[float, float]]:
    """Name -> sparsity -> loss: the squared change of the outputs over their squared norm, when this layer alone is
    pruned by magnitude to that sparsity. Three sparsities about `sparsity` are tried. The module is left as it is.
    """
    module.eval()
    inputs = [model_inputs({name: torch.as_tensor(array) for name, array in batch.items()}) for batch in batches]

    def outputs() -> list[torch.Tensor]:
        return [_flat(module(**batch)) for batch in inputs]

    dense = outputs()
    norm = sum(float(value.square().sum()) for value in dense) or 1.0
    tried = sorted({round(1 - (1 - sparsity) * factor, 4) for factor in (2.0, 1.0, 0.5) if (1 - sparsity) * factor < 1})
    losses: dict[str, dict[float, float]] = {}
    for done, (name, layer) in enumerate(layers.items()):
        if progress:
            progress(done, len(layers))
        weight: Any = layer.weight
        kept = weight.detach().clone()
        losses[name] = {}
        for wanted in tried:
            try:
                mask = project(kept.numpy(), scheme, wanted)
            except PruneError as error:
                raise PruneError(f"layer '{name}': {error}") from None
            weight.copy_(kept * torch.from_numpy(mask))
            changed = sum(float((a - b).square().sum()) for a, b in zip(outputs(), dense, strict=True))
            losses[name][wanted] = changed / norm
        weight.copy_(kept)
    return losses


def rates_of_least_loss(
    losses: Mapping[str, Mapping[float, float]], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
    """The sparsity of each layer, so that `sparsity` of all weights go and the summed losses, interpolated between
    what was tried and 0 at 0, are least. A layer keeps at least 2 % of its weights."""
    from secateur.compiler.prune.latency.budget import Options, choose_within

    options, grids = [], []
    for name, tried in losses.items():
        known = sorted({0.0: 0.0, **tried}.items())
        grid = np.arange(0.0, min(_LONGEST, known[-1][0]) + 1e-9, _STEP)
        values = np.maximum.accumulate(np.interp(grid, [s for s, _ in known], [loss for _, loss in known]))
        options.append(Options((1 - grid) * sizes[name], values))
        grids.append(grid)
    chosen = choose_within(options, (1 - sparsity) * sum(sizes.values()))
    if chosen is None:
        raise PruneError(f"no rates of the layers reach a sparsity of {sparsity:g} in all")
    return {name: float(grid[i]) for name, grid, i in zip(losses, grids, chosen, strict=True)}


def _flat(outputs: Mapping[str, Any]) -> torch.Tensor:
    """All outputs that are numbers, behind each other."""
    tensors = [value for value in outputs.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
