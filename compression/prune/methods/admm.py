"""ADMM pruning, as GRIM, PatDNN and YOLObile use it, with retraining in the same training.

The loss gets sum_layers rho/2 |W - Z + U|^2. Z is a weight of the scheme, U the scaled dual (Zhang et al. 2018, arXiv
1804.03294, section 3). Every so many steps Z = projection(W + U) and U = U + W - Z; at the end of the phase W is
projected itself, and the rest of the training keeps that mask.

Behind each step of the optimizer the penalty takes a proximal one of size 1 / every: W becomes the minimiser of
rho/2 |W' - Z + U|^2 + every/2 |W' - W|^2, which is (W + a (Z - U)) / (1 + a) with a = rho / every. So rho has no unit:
between two updates the distance to Z - U falls to about exp(-rho) of what it was, but for what the loss does against
it, whatever the optimizer, its learning rate and the length of the training.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ..scheme import PruneError
from .base import Method, Run, TrainedLayer, check_fraction, check_positive, mask_of, phase_steps, update_interval

if TYPE_CHECKING:
    from torch.optim import Optimizer

_RESTARTS = ("cosine", "linear", "none")


@dataclasses.dataclass(frozen=True)
class Admm(Method):
    """The phase takes `admm_fraction` of the training, the retraining what is left.

    Z and U are updated every `every` steps, or every `every_epochs` epochs, or `updates` times. `rho` (see above) grows
    geometrically to `rho_final` in the last interval (PatDNN and YOLObile raise it by steps of ten). With every update
    the learning rate starts again from what the schedule gives, and falls along a `restart` curve (cosine, linear;
    none: no restarts) to `restart_floor` of it.
    """

    name: ClassVar[str] = "admm"

    admm_fraction: float = 0.6
    rho: float = 0.1
    rho_final: float | None = 3.0
    updates: int = 12
    every: int | None = None
    every_epochs: float | None = None
    restart: str = "cosine"
    restart_floor: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("admm_fraction", self.admm_fraction)
        for option in ("rho", "rho_final", "updates", "every", "every_epochs"):
            check_positive(option, getattr(self, option))
        if self.restart not in _RESTARTS:
            raise PruneError(f"'restart' is one of {', '.join(_RESTARTS)}, found '{self.restart}'")
        if not 0 <= self.restart_floor <= 1:
            raise PruneError(f"'restart_floor' is a fraction between 0 and 1, found {self.restart_floor:g}")

    def begin(self, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None) -> "AdmmRun":
        return AdmmRun(self, layers, steps, steps_per_epoch)


class AdmmRun(Run):
    """Z and U by layer while the phase lasts; masks behind it."""

    def __init__(self, options: Admm, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None):
        super().__init__(layers, steps)
        self.options = options
        self.last = phase_steps("admm_fraction", options.admm_fraction, steps)
        self.every = update_interval(options, self.last, steps_per_epoch)
        self.rho = options.rho
        self.z: dict[str, torch.Tensor] = {}
        self.u: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def start(self) -> None:
        for layer in self.layers:
            self.z[layer.name] = layer.weight * mask_of(layer, layer.weight, layer.sparsity)
            self.u[layer.name] = torch.zeros_like(layer.weight)

    @torch.no_grad()
    def penalize(self) -> None:
        pull = self.rho / (self.every + self.rho)
        for layer in self.layers if self.z else ():
            layer.weight.lerp_(self.z[layer.name] - self.u[layer.name], pull)

    def update(self, step: int, optimizer: "Optimizer | None") -> None:
        if step == self.last:
            self._end(optimizer)
        elif step < self.last and step % self.every == 0:
            self._update_duals(step // self.every)

    def finish(self, optimizer: "Optimizer | None" = None) -> None:
        if self.done < self.last:
            self._end(optimizer)
        super().finish(optimizer)

    @torch.no_grad()
    def _update_duals(self, count: int) -> None:
        intervals = max(-(-self.last // self.every) - 1, 1)
        growth = (self.options.rho_final or self.options.rho) / self.options.rho
        rho = self.options.rho * growth ** (count / intervals)
        for layer in self.layers:
            u = self.u[layer.name].add_(layer.weight)
            z = u * mask_of(layer, u, layer.sparsity)
            u.sub_(z)
            # U is the dual divided by rho; the dual itself does not change with rho (Boyd et al. 2011, section 3.4.1).
            u.mul_(self.rho / rho)
            self.z[layer.name] = z
        self.rho = rho

    def _end(self, optimizer: "Optimizer | None") -> None:
        self.z, self.u = {}, {}
        self.prune(optimizer)

    def learning_rate_factor(self, step: int) -> float:
        if step >= self.last or self.options.restart == "none":
            return 1.0
        return restart_factor(self.options.restart, self.options.restart_floor, step % self.every / self.every)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        figures = {**super().figures(), "rho": self.rho if self.z else 0.0, "penalty": 0.0, "residual": 0.0}
        if self.z:
            distance = norm = 0.0
            for layer in self.layers:
                difference = layer.weight - self.z[layer.name]
                distance += float(difference.square().sum())
                norm += float(layer.weight.square().sum())
                figures["penalty"] += self.rho / 2 * float((difference + self.u[layer.name]).square().sum())
            figures["residual"] = math.sqrt(distance / norm) if norm else 0.0
        return figures

    def tensors(self) -> dict[str, torch.Tensor]:
        duals = {f"{kind}/{name}": t for kind, by in (("z", self.z), ("u", self.u)) for name, t in by.items()}
        return {**super().tensors(), **duals}

    def values(self) -> dict[str, Any]:
        return {**super().values(), "rho": self.rho}

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        super().restore(tensors, values)
        self.rho = float(values["rho"])
        self.z, self.u = self.of_prefix(tensors, "z/"), self.of_prefix(tensors, "u/")


def restart_factor(curve: str, floor: float, progress: float) -> float:
    """What is left of the learning rate at `progress` (0 to 1) between two restarts."""
    falling = (1 + math.cos(math.pi * progress)) / 2 if curve == "cosine" else 1 - progress
    return floor + (1 - floor) * falling
