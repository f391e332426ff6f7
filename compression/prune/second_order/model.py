"""Second-order pruning of a whole PyTorch model: layer by layer from a few unlabelled inputs, without training."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from secateur.dialects.number_formats import Storage

from ..layers import prunable_layers, weight_parameter
from ..model import LayerPruning, PruneReport, _copy
from ..projections import project
from ..rates import layer_rates, wanted_fraction
from ..scheme import PruneError, Scheme
from .calibration import Calibration, Moments
from .layer import Solution, solve

DAMPING = 0.01


@dataclasses.dataclass(frozen=True)
class CalibratedPruning(LayerPruning):
    """`output_error_fraction`: what the outputs on the calibration inputs lost of their squared norm (about the mean,
    where a bias takes it up), or None for a layer that no input reached, which was pruned by magnitude."""

    output_error_fraction: float | None = None


def prune_second_order(
    module: torch.nn.Module,
    batches: Sequence[Mapping[str, "np.ndarray | torch.Tensor"]],
    scheme: Scheme | None,
    sparsity: float | None = None,
    *,
    rates: Mapping[str, float] | None = None,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    copy: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
    damping: float = DAMPING,
    inputs: str = "pruned",
    correct_bias: bool = True,
    storage: Storage | None = None,
) -> tuple[torch.nn.Module, PruneReport]:
    """Prunes each layer that `scheme` is for to the same sparsity, or to its own, and corrects what
    stays, so that the outputs on `batches` change least (optimal brain surgeon; see `layer.solve` for each scheme).

    `batches`, `include`, `skip`, `rates`, `copy` and `progress` are as in `Calibration` and `prune_model`. `inputs`
    says which inputs a layer is fitted to: those that the pruned layers before it give (`pruned`), or the original
    model's (`dense`). `damping` is the fraction of the mean diagonal that is added to the diagonal of the second
    moments. With `correct_bias` a layer's bias takes up the mean of the change. With `storage` what stays is rounded to
    what it holds, and the weights that are rounded later take up each rounding; without a scheme nothing else goes than
    what is zero already, and that is all. A weight that several layers share is pruned once, for the inputs of all.
    Layers that no batch reaches are pruned by magnitude, and not rounded; their `output_error_fraction` is None.
    Deterministic. Raises `PruneError`, naming the layer; the module is then as it was.
    """
    if inputs not in ("pruned", "dense"):
        raise PruneError(f"the layers are fitted to 'pruned' or 'dense' inputs, found '{inputs}'")
    if not 0 < damping < float("inf"):
        raise PruneError(f"a damping is larger than 0 and finite, found {damping:g}")
    chosen, skipped = prunable_layers(module, scheme, include, skip)
    wanted = layer_rates(list(chosen), sparsity, rates)
    for name, layer in chosen.items():
        _check(name, layer, scheme, wanted[name])
        if scheme is None:
            wanted[name] = 1 - int(torch.count_nonzero(weight_parameter(layer))) / weight_parameter(layer).numel()
    target = _copy(module) if copy else module
    layers = dict(target.named_modules())
    uses = {name: sharing_modules(target, layers[name]) for name in chosen}
    reports: dict[str, CalibratedPruning] = {}
    before = {name: _state(layers[name]) for name in chosen}

    def prune(name: str, moments: list[Moments] | None) -> None:
        if progress:
            progress(len(reports), len(chosen), name)
        alone = correct_bias and len(uses[name]) == 1
        try:
            reports[name] = _prune_layer(name, layers[name], moments, scheme, wanted[name], damping, alone, storage)
        except PruneError as error:
            raise PruneError(f"layer '{name}': {error}", usage=error.usage) from None

    try:
        calibration = Calibration(target, batches)
        order = calibration.order(uses)
        if not order:
            raise PruneError("no calibration input reaches a layer that is to be pruned")
        if inputs == "dense":
            all_moments = calibration.moments({group[0]: uses[group[0]] for group in order})
        for group in order:
            if inputs == "pruned":
                all_moments = calibration.moments({group[0]: uses[group[0]]}, final=True)
            for name in group:
                prune(name, all_moments[group[0]])
        for name in chosen:
            if name not in reports:
                prune(name, None)
    except BaseException:
        for name, state in before.items():
            _restore(layers[name], state)
        raise
    if progress:
        progress(len(chosen), len(chosen), "")
    sizes = {name: weight_parameter(layer).numel() for name, layer in chosen.items()}
    fraction = wanted_fraction(scheme, wanted, sizes)
    return target, PruneReport(str(scheme or "zeros kept"), fraction, [reports[name] for name in chosen], skipped)


def _check(name: str, layer: torch.nn.Module, scheme: Scheme | None, sparsity: float | None) -> None:
    """What `project` would say of the weight, from its first rows as far as that goes, before anything runs."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise PruneError(f"layer '{name}': the weight holds {bad} values that are NaN or infinite")
    if scheme is None:
        return
    groups = getattr(layer, "groups", 1)
    if groups > 1 and (len(weight) // groups) % scheme.rule.block[0]:
        raise PruneError(
            f"layer '{name}': a block of '{scheme}' takes filters of one group of the convolution, whose groups have "
            f"{len(weight) // groups}",
            usage=True,
        )
    try:
        project(np.zeros(weight.shape, np.float32), scheme, sparsity)
    except PruneError as error:
        raise PruneError(f"layer '{name}': {error}", usage=error.usage) from None


def sharing_modules(module: torch.nn.Module, layer: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules of the layer's kind that hold its weight."""
    weight = weight_parameter(layer)
    return [other for other in module.modules() if type(other) is type(layer) and weight_parameter(other) is weight]


def _state(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    mask, bias = getattr(layer, "weight_mask", None), layer.bias
    weight = weight_parameter(layer).detach().clone()
    return weight, None if mask is None else mask.clone(), None if bias is None else bias.detach().clone()  # type: ignore[operator]


def _restore(layer: torch.nn.Module, state: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]) -> None:
    weight, mask, bias = state
    with torch.no_grad():
        weight_parameter(layer).copy_(weight)
        if mask is not None:
            layer.weight_mask.copy_(mask)  # type: ignore[union-attr,operator]
            layer.weight = weight * mask  # type: ignore[assignment]
        if bias is not None:
            layer.bias.copy_(bias)  # type: ignore[union-attr,operator]


def _prune_layer(
    name: str,
    layer: torch.nn.Module,
    moments: list[Moments] | None,
    scheme: Scheme | None,
    sparsity: float | None,
    damping: float,
    correct_bias: bool,
    storage: Storage | None,
) -> CalibratedPruning:
    weight: torch.Tensor = layer.weight.detach()  # type: ignore[union-attr,operator,assignment]
    matrix = weight.double().reshape(len(weight), -1)
    if moments is None:
        mask = matrix != 0
        if scheme is not None:
            kept = torch.from_numpy(project(weight.float().cpu().numpy(), scheme, sparsity))
            mask = kept.reshape(matrix.shape).to(matrix.device)
        solved, error, shift = matrix * mask, None, None
    else:
        centre = correct_bias and layer.bias is not None
        area = matrix.shape[1] // weight.shape[1]
        solutions: list[Solution] = []
        shifts = []
        for part, rows in zip(moments, matrix.chunk(len(moments)), strict=True):
            second = part.centred() if centre else part.second
            # What the algebra makes anew lies where the weight does.
            with matrix.device:
                solutions.append(solve(rows, second, scheme, sparsity, damping, area, storage))
            shifts.append((rows - solutions[-1].weight) @ part.mean())
        mask = torch.cat([solution.mask for solution in solutions])
        solved = torch.cat([solution.weight for solution in solutions])
        energy = sum(solution.energy for solution in solutions)
        error = sum(solution.error for solution in solutions) / energy if energy else 0.0
        shift = torch.cat(shifts) if centre else None
    with torch.no_grad():
        parameter = weight_parameter(layer)
        new, kept = solved.reshape(weight.shape).to(parameter), mask.reshape(weight.shape)
        parameter.copy_(new)
        if parameter is not layer.weight:
            layer.weight_mask.copy_(kept)  # type: ignore[union-attr,operator]
            layer.weight = parameter.detach() * layer.weight_mask  # type: ignore[assignment,operator]
        if shift is not None:
            layer.bias.add_(shift.to(layer.bias))  # type: ignore[union-attr,operator,arg-type]
    norm = float(matrix.norm())
    kept_norm = float((matrix * mask).norm()) / norm if norm else 1.0
    zeros = 1 - int(torch.count_nonzero(new)) / new.numel()
    return CalibratedPruning(name, tuple(weight.shape), zeros, kept_norm, error)
