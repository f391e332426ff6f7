"""Gradual magnitude pruning: the sparsity rises while training goes on (Zhu & Gupta 2017, arXiv 1710.01878)."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from ..scheme import PruneError
from .base import Method, Run, TrainedLayer, check_fraction, check_positive, steps_of

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclasses.dataclass(frozen=True)
class Gradual(Method):
    """From `initial_sparsity` at `begin` to the wanted sparsity at `end`, both fractions of the training.

    Sparsity at progress p of that time: s + (s_0 - s)(1 - p)^power. Every `every` steps (by default so that there are
    `updates` of them) the weights are projected anew; weights outside the new mask become zero, those inside it train
    on. After `end` the mask stays.
    """

    name: ClassVar[str] = "gradual"

    begin_fraction: float = 0.0
    end_fraction: float = 0.6
    initial_sparsity: float = 0.0
    power: float = 3.0
    updates: int = 20
    every: int | None = None

    def __post_init__(self) -> None:
        check_fraction("begin_fraction", self.begin_fraction)
        check_fraction("end_fraction", self.end_fraction)
        for option in ("power", "updates", "every"):
            check_positive(option, getattr(self, option))
        if not 0 <= self.initial_sparsity < 1:
            raise PruneError(f"'initial_sparsity' is at least 0 and less than 1, found {self.initial_sparsity:g}")
        if self.begin_fraction > self.end_fraction:
            raise PruneError(
                f"gradual pruning begins before it ends, found begin_fraction {self.begin_fraction:g} "
                f"and end_fraction {self.end_fraction:g}"
            )

    def begin(self, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None) -> "GradualRun":
        return GradualRun(self, layers, steps)


class GradualRun(Run):
    """Without state of its own: what is due follows from the step."""

    def __init__(self, options: Gradual, layers: list[TrainedLayer], steps: int):
        super().__init__(layers, steps)
        self.options = options
        self.first = steps_of(options.begin_fraction, steps)
        self.last = min(max(steps_of(options.end_fraction, steps), self.first + 1), steps)
        self.every = options.every or max(1, (self.last - self.first) // options.updates)

    def rates_at(self, step: int) -> dict[str, float | None]:
        """The sparsity of each layer after `step` steps."""
        progress = min(max((step - self.first) / max(self.last - self.first, 1), 0.0), 1.0)
        left = (1 - progress) ** self.options.power
        rates: dict[str, float | None] = {}
        for layer in self.layers:
            final = layer.wanted
            # A layer whose final sparsity is lower than the initial one never has more than the final.
            first = min(self.options.initial_sparsity, final)
            rates[layer.name] = layer.sparsity if progress == 1 else final + (first - final) * left
        return rates

    def update(self, step: int, optimizer: "Optimizer | None") -> None:
        due = step >= self.first and step < self.last and (step - self.first) % self.every == 0
        if due or step == self.last:
            self.prune(optimizer, self.rates_at(step))

    def finish(self, optimizer: "Optimizer | None" = None) -> None:
        if self.done < self.last:
            self.prune(optimizer)
        super().finish(optimizer)

    def figures(self) -> dict[str, float]:
        kept = sum(int(mask.sum()) for mask in self.masks.values())
        of = sum(mask.numel() for mask in self.masks.values())
        return {**super().figures(), "masked": 1 - kept / of if of else 0.0}
