"""What a method of pruning during training is: its options, and a run of it over the weights of one model."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..projections import project
from ..scheme import PruneError, Scheme

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclasses.dataclass
class TrainedLayer:
    """A layer that training prunes: its module name, its weight (fp32), and what it is pruned to.

    `sparsity` may be None for a scheme with one sparsity (`nm`).
    `kept_norm_fraction` is the share of its norm (L2) that its projections
    kept, multiplied where there were several.
    """

    name: str
    weight: torch.nn.Parameter
    scheme: Scheme
    sparsity: float | None
    kept_norm_fraction: float = 1.0

    @property
    def wanted(self) -> float:
        """The sparsity as a number."""
        wanted = self.scheme.fixed_sparsity if self.sparsity is None else self.sparsity
        assert wanted is not None, "a scheme without a sparsity of its own is given one"
        return wanted


class Method(abc.ABC):
    """A method's options: a frozen dataclass whose fields are the options, checked when it is made.

    Every count of steps means steps of the optimizer, every fraction is one of the whole training.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def begin(self, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None) -> "Run":
        """A run over `layers` in a training of `steps` steps. Raises `PruneError` for a training that is too short."""


class Run:
    """A method at work. Whoever trains calls, for the step number `step` (from 0):

    `mask_gradients()` before the optimizer's step, when the gradients are complete; `after_step(step + 1, optimizer)`
    behind it; `finish(optimizer)` when training ends. `tensors` and `values` are its state between two steps, from
    which `restore` goes on.

    A penalty is no part of the gradients: it moves the weights itself, behind the optimizer's step, as AdamW's weight
    decay does (Loshchilov & Hutter 2019, arXiv 1711.05101). Adam would divide its gradient by the root of its own
    square: no weight could come further than the sum of the learning rates, and a fine-tuning is over before that is
    the size of a weight.
    """

    def __init__(self, layers: list[TrainedLayer], steps: int):
        self.layers = layers
        self.steps = steps
        self.masks: dict[str, torch.Tensor] = {}  # True: kept; a layer without a mask is free
        self.done = 0  # steps

    def start(self) -> None:
        """Before the first step; not after `restore`."""

    def mask_gradients(self) -> None:
        """Takes the gradients of removed weights away."""
        for layer in self.layers:
            mask = self.masks.get(layer.name)
            if mask is not None and layer.weight.grad is not None:
                layer.weight.grad.mul_(mask)

    def after_step(self, step: int, optimizer: "Optimizer | None" = None) -> None:
        """What is due after `step` steps; removed weights are exactly zero then."""
        self.done = step
        self.penalize()
        self.update(step, optimizer)
        self.apply_masks()

    def penalize(self) -> None:
        """The penalty's own step over the weights, one for each of the optimizer's."""

    def update(self, step: int, optimizer: "Optimizer | None") -> None:
        """The method's own work after `step` steps."""

    def finish(self, optimizer: "Optimizer | None" = None) -> None:
        """The end of the training, whether or not all steps were done: leaves exact zeros."""
        self.apply_masks()

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rate of the step is multiplied by."""
        return 1.0

    def figures(self) -> dict[str, float]:
        """Numbers for the log, without prefix."""
        return {"sparsity": self.sparsity_fraction()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state that is large."""
        return {f"mask/{name}": mask for name, mask in self.masks.items()}

    def values(self) -> dict[str, Any]:
        """The state that fits into JSON."""
        return {
            "done": self.done,
            "kept_norm_fraction": {layer.name: layer.kept_norm_fraction for layer in self.layers},
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Goes on from what `tensors` and `values` returned; the weights are restored by whoever trains."""
        self.done = int(values["done"])
        self.masks = self.of_prefix(tensors, "mask/")
        for layer in self.layers:
            layer.kept_norm_fraction = float(values["kept_norm_fraction"][layer.name])

    def of_prefix(self, tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
        """The tensors of one kind by layer, on the layers' devices."""
        return {
            layer.name: tensors[prefix + layer.name].to(layer.weight.device)
            for layer in self.layers
            if prefix + layer.name in tensors
        }

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Removed weights become zero."""
        for layer in self.layers:
            mask = self.masks.get(layer.name)
            if mask is not None:
                layer.weight.masked_fill_(~mask, 0)

    @torch.no_grad()
    def prune(self, optimizer: "Optimizer | None", rates: Mapping[str, float | None] | None = None) -> None:
        """Projects every weight to `rates` (by name; by default the wanted sparsity), and clears the optimizer's
        moments there: they would move a weight that a later mask keeps again."""
        for layer in self.layers:
            sparsity = layer.sparsity if rates is None else rates[layer.name]
            mask = mask_of(layer, layer.weight, sparsity)
            norm = float(layer.weight.norm())
            self.masks[layer.name] = mask
            layer.kept_norm_fraction *= float((layer.weight * mask).norm()) / norm if norm else 1.0
            clear_moments(optimizer, layer.weight, mask)
        self.apply_masks()

    @torch.no_grad()
    def sparsity_fraction(self) -> float:
        """Zeros over all weights of the layers."""
        zeros = sum(int((layer.weight == 0).sum()) for layer in self.layers)
        return zeros / sum(layer.weight.numel() for layer in self.layers)


def mask_of(layer: TrainedLayer, weight: torch.Tensor, sparsity: float | None) -> torch.Tensor:
    """The mask of `weight` (the layer's, or one of its shape) projected onto the layer's scheme, on its device.

    N:M has one sparsity only: for a smaller one more of each m weights are kept, for the smallest all.
    """
    scheme = layer.scheme
    if scheme.fixed_sparsity is not None and sparsity is not None:
        nearest = scheme.rule.at(sparsity)
        if nearest is None:
            return torch.ones_like(weight, dtype=torch.bool)
        scheme, sparsity = Scheme(nearest.name, nearest.sizes), None
    try:
        mask = project(weight.detach().cpu().numpy(), scheme, sparsity)
    except PruneError as error:
        raise PruneError(f"layer '{layer.name}': {error}", usage=error.usage) from None
    return torch.from_numpy(mask).to(weight.device)


@torch.no_grad()
def clear_moments(optimizer: "Optimizer | None", weight: torch.nn.Parameter, mask: torch.Tensor) -> None:
    """Zeroes what the optimizer remembers of removed weights (Adam's moments, SGD's momentum)."""
    if optimizer is None or weight not in optimizer.state:
        return
    for value in optimizer.state[weight].values():
        if isinstance(value, torch.Tensor) and value.shape == weight.shape:
            value.masked_fill_(~mask.to(value.device), 0)


def steps_of(fraction: float, steps: int) -> int:
    """A fraction of the training in steps."""
    return round(fraction * steps)


def phase_steps(option: str, fraction: float, steps: int) -> int:
    """The steps of a first phase, at least one. Raises `PruneError` for a training that is too short for it."""
    phase = steps_of(fraction, steps)
    if phase < 1:
        raise PruneError(
            f"a training of {steps} steps is too short for {option} = {fraction:g}: it leaves no step", usage=True
        )
    return phase


def update_interval(options: Any, phase: int, steps_per_epoch: int | None) -> int:
    """The steps between two updates: `options.every`, or of `options.every_epochs`, or `options.updates` a phase.

    Raises `PruneError` for epochs of a data set whose length is not known.
    """
    if options.every is not None:
        return int(options.every)
    if options.every_epochs is None:
        return int(max(1, phase // options.updates))
    if steps_per_epoch is None:
        raise PruneError("'every_epochs' needs a data set with a length: give 'every', a number of steps, instead")
    return max(1, round(options.every_epochs * steps_per_epoch))


def check_fraction(option: str, value: float, least: float = 0.0) -> None:
    """Raises `PruneError` unless `least <= value <= 1`."""
    if not least <= value <= 1:
        raise PruneError(f"'{option}' is a fraction of the training between {least:g} and 1, found {value:g}")


def check_positive(option: str, value: float | None) -> None:
    """Raises `PruneError` unless the value is left out or positive and finite."""
    if value is not None and not 0 < value < float("inf"):
        raise PruneError(f"'{option}' is a positive number, found {value:g}")
