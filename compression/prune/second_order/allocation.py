"""What the model's outputs lose with each weight of each layer, and the sparsities at which the last costs the same."""

import dataclasses
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
from .sensitivity import effect_of_noise, first_outputs

# Of how many of a layer's bands the costs are found: their distribution is what counts.
_BAND_SHARE = 8
# Noise added to a layer's output to see what becomes of it, as a fraction of the output's squared norm: about what
# pruning to 70 % leaves.
_NOISE = 0.1


@dataclasses.dataclass(frozen=True)
class LayerCosts:
    """A sample of a layer's units, cheapest first: how many of its weights each stands for, and what the outputs of the
    model lose per weight."""

    sizes: np.ndarray
    densities: np.ndarray

    def loss(self, sparsity: float) -> float:
        """What the outputs lose when the cheapest `sparsity` of the layer's weights go."""
        return float(np.dot(_taken(self.sizes, sparsity * self.sizes.sum()), self.densities))


def layer_costs(
    module: torch.nn.Module,
    batches: Sequence[Mapping[str, "np.ndarray | torch.Tensor"]],
    scheme: Scheme,
    *,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    damping: float = DAMPING,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, LayerCosts]:
    """The costs of each layer by name, as fractions of the squared norm of the model's outputs.

    A layer's units (for `bcr` with rows and columns: its columns; for `pattern`: its weights) go in the order and at
    the costs of `removal_order` on the inputs of the unpruned model, for every eighth band. What an error of the
    layer's output means for the model is measured: noise of a known size is added to it in one batch. Arguments and
    errors otherwise as in `prune_second_order`. Raises `PruneError` for a layer that no batch reaches, and
    for a scheme with one sparsity (`nm`).
    """
    if scheme.fixed_sparsity is not None:
        raise PruneError(f"scheme '{scheme}' has the same sparsity in each layer", usage=True)
    layers, _ = prunable_layers(module, scheme, include, skip)
    uses = {name: sharing_modules(module, layer) for name, layer in layers.items()}
    calibration = Calibration(module, batches)
    reads = {name: group[0] for group in calibration.order(uses) for name in group}
    if len(reads) < len(layers):
        missing = next(name for name in layers if name not in reads)
        raise PruneError(f"layer '{missing}': no calibration input reaches it, so that it has no loss to compare")
    moments = calibration.moments({name: uses[name] for name in reads.values()})
    expected = first_outputs(calibration)
    costs = {}
    for done, (name, layer) in enumerate(layers.items()):
        if progress:
            progress(done, len(layers), name)
        with layer.weight.device:  # type: ignore[union-attr]
            cost, size, energy = _curve(layer, moments[reads[name]], scheme, damping)
        weights = int(np.prod(layer.weight.shape))  # type: ignore[arg-type]
        effect = effect_of_noise(calibration, expected, uses[name], _NOISE, seed) if energy else 0.0
        # Of the sampled units, scaled to the whole layer.
        density = cost / size * (effect / energy if energy else 0.0)
        cheapest = np.argsort(density, kind="stable")
        costs[name] = LayerCosts(size[cheapest] * (weights / size.sum()), density[cheapest])
    if progress:
        progress(len(layers), len(layers), "")
    return costs


def loss_rates(costs: Mapping[str, LayerCosts], sparsity: float, highest: float = 0.95) -> dict[str, float]:
    """The sparsity of each layer by name, for `rates`, with an average over all weights of `sparsity`: the units of all
    layers compete, but no layer loses more than `highest` of its weights. Raises `PruneError`."""
    if not 0 <= sparsity <= highest < 1:
        raise PruneError(
            f"the sparsity is at least 0 and at most {highest:g}, the highest of a layer; found {sparsity:g}",
            usage=True,
        )
    layers = list(costs.values())
    owner = np.repeat(np.arange(len(layers)), [len(layer.sizes) for layer in layers])
    sizes = np.concatenate([layer.sizes for layer in layers])
    allowed = np.concatenate([np.cumsum(layer.sizes) <= highest * layer.sizes.sum() + 1e-6 for layer in layers])
    densities = np.where(allowed, np.concatenate([layer.densities for layer in layers]), np.inf)
    order = np.argsort(densities, kind="stable")
    taken = _taken(sizes[order], sparsity * sizes.sum())
    gone = np.bincount(owner[order], weights=taken, minlength=len(layers))
    return {name: float(part / layer.sizes.sum()) for (name, layer), part in zip(costs.items(), gone, strict=True)}


def _taken(sizes: np.ndarray, budget: float) -> np.ndarray:
    """How much of each of `sizes`, in order, a budget takes."""
    return np.clip(budget - (np.cumsum(sizes) - sizes), 0, sizes)


def _curve(
    layer: Any, moments: Sequence[Moments], scheme: Scheme, damping: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Costs and sizes of a sample of the layer's units, and the energy of its output."""
    matrix = layer.weight.detach().double().reshape(len(layer.weight), -1)
    costs, sizes, energy = [], [], 0.0
    for part, weight in zip(moments, matrix.chunk(len(moments)), strict=True):
        second = part.centred() if layer.bias is not None else part.second
        energy += output_error(weight, second)
        units = scheme.rule.units((len(weight), *layer.weight.shape[1:]))
        if units.choice == "rows":
            costs.append(((weight @ second) * weight).sum(dim=1).cpu().numpy())
            sizes.append(np.full(len(weight), weight.shape[1]))
            continue
        height, width, _ = units.tiles[-1]
        bands = -(-len(weight) // height)
        rows = torch.arange(len(weight))
        rows = rows[(rows // height) % max(1, min(_BAND_SHARE, bands // 8)) == 0]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(second, damping)))
        widths = None
        sampled = weight[rows]
        if units.shape[2] > 1:
            together, widths = kernel_units(weight.shape[1], width, units.shape[2])
            sampled, inverse = sampled[:, together], inverse[together][:, together]
        _, cost, size = emptied(sampled, inverse, height, width, widths)
        costs.append(cost.reshape(-1))
        sizes.append(size.reshape(-1))
    return np.concatenate(costs), np.concatenate(sizes), energy
