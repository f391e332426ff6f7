"""A sparsity for each layer, so that the last weight removed costs the model's outputs the same everywhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..layers import prunable_layers
from ..scheme import PruneError, Scheme
from .calibration import Calibration, Moments
from .correction import damped, output_error
from .layer import emptied, kernel_units
from .model import DAMPING, sharing_modules
from .sensitivity import effect_of_noise

# Of how many of a layer's bands the costs are found: their distribution is what counts.
_BAND_SHARE = 8
# Noise added to a layer's output to see what becomes of it, as a fraction of the output's squared norm: about what
# pruning to 70 % leaves.
_NOISE = 0.1


def loss_rates(
    module: torch.nn.Module,
    batches: Sequence[Mapping[str, "np.ndarray | torch.Tensor"]],
    scheme: Scheme,
    sparsity: float,
    *,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    damping: float = DAMPING,
    highest: float = 0.95,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, float]:
    """The sparsity of each layer by name, for `rates`, with an average over all weights of `sparsity`.

    A layer's units (for `bcr` with rows and columns: its columns; for `pattern`: its weights) go in the order and at
    the costs of `removal_order` on the inputs of the unpruned model, for every eighth band. What an error of the
    layer's output means for the model is measured: noise of a known size is added to it in one batch. The units of all
    layers then compete for the budget, but no layer loses more than `highest` of its weights. Arguments and errors
    otherwise as in `prune_second_order`. Raises `PruneError` for `nm`, whose sparsity is fixed.
    """
    if scheme.name == "nm":
        raise PruneError(f"scheme '{scheme}' has the same sparsity in each layer")
    if not 0 <= sparsity <= highest < 1:
        raise PruneError(
            f"the sparsity is at least 0 and at most {highest:g}, the highest of a layer; found {sparsity:g}"
        )
    layers, _ = prunable_layers(module, scheme, include, skip)
    uses = {name: sharing_modules(module, layer) for name, layer in layers.items()}
    calibration = Calibration(module, batches)
    order = [name for group in calibration.order(uses) for name in group]
    if len(order) < len(layers):
        missing = next(name for name in layers if name not in order)
        raise PruneError(f"layer '{missing}': no calibration input reaches it, so that it has no loss to compare")
    moments = calibration.moments({name: uses[name] for name in order}, shared=False)
    names, costs, sizes = list(layers), [], []
    for done, name in enumerate(names):
        if progress:
            progress(done, len(names), name)
        cost, size, energy = _curve(layers[name], moments.pop(name), scheme, damping)
        weights = int(np.prod(layers[name].weight.shape))  # type: ignore[arg-type]
        effect = effect_of_noise(calibration, uses[name], _NOISE, seed) if energy else 0.0
        density = cost / size * (effect / energy if energy else 0.0)
        order_of = np.argsort(density, kind="stable")
        density, size = density[order_of], size[order_of] * (weights / size.sum())
        density[np.cumsum(size) > highest * weights + 1e-6] = np.inf
        costs.append(density)
        sizes.append(size)
    if progress:
        progress(len(names), len(names), "")
    return dict(zip(names, _compete(costs, sizes, sparsity), strict=True))


def _compete(costs: Sequence[np.ndarray], sizes: Sequence[np.ndarray], sparsity: float) -> list[float]:
    """The fraction of each layer that goes when the cheapest `sparsity` of all weights go."""
    layer = np.repeat(np.arange(len(costs)), [len(cost) for cost in costs])
    cost, size = np.concatenate(costs), np.concatenate(sizes)
    order = np.argsort(cost, kind="stable")
    budget = sparsity * size.sum()
    before = np.cumsum(size[order]) - size[order]
    taken = np.clip(budget - before, 0, size[order])
    gone = np.bincount(layer[order], weights=taken, minlength=len(costs))
    return [float(part / whole.sum()) for part, whole in zip(gone, sizes, strict=True)]


def _curve(
    layer: Any, moments: Sequence[Moments], scheme: Scheme, damping: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Costs and sizes of a sample of the layer's units, scaled to the whole layer, and the energy of its output."""
    matrix = layer.weight.detach().double().cpu().reshape(len(layer.weight), -1)
    area = matrix.shape[1] // layer.weight.shape[1]
    costs, sizes, energy = [], [], 0.0
    for part, weight in zip(moments, matrix.chunk(len(moments)), strict=True):
        second = part.centred() if layer.bias is not None else part.second
        energy += output_error(weight, second)
        if scheme.name == "filter":
            costs.append(((weight @ second) * weight).sum(dim=1).numpy())
            sizes.append(np.full(len(weight), weight.shape[1]))
            continue
        height, width = {"unstructured": (1, 1), "pattern": (1, 1), "block": (1, *scheme.sizes)}.get(
            scheme.name, scheme.sizes
        )
        width = 1 if scheme.name == "bcr" and height > 1 else width
        bands = -(-len(weight) // height)
        rows = torch.arange(len(weight))
        rows = rows[(rows // height) % max(1, min(_BAND_SHARE, bands // 8)) == 0]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(second, damping)))
        widths = None
        sampled = weight[rows]
        if scheme.name == "punched":
            together, widths = kernel_units(weight.shape[1], width, area)
            sampled, inverse = sampled[:, together], inverse[together][:, together]
        _, cost, size = emptied(sampled, inverse, height, width, widths)
        costs.append(cost.reshape(-1))
        sizes.append(size.reshape(-1))
    return np.concatenate(costs), np.concatenate(sizes), energy
