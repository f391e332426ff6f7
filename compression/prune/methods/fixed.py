"""Retraining: the zeros that the model has at the start are kept."""

import dataclasses
from typing import ClassVar

import torch

from ..scheme import PruneError
from .base import Method, Run, TrainedLayer


@dataclasses.dataclass(frozen=True)
class Fixed(Method):
    """Every weight that is zero at the start stays zero: retraining after any pruning without training."""

    name: ClassVar[str] = "fixed"

    def begin(self, layers: list[TrainedLayer], steps: int, steps_per_epoch: int | None) -> "FixedRun":
        return FixedRun(layers, steps)


class FixedRun(Run):
    """Masks from the zeros at the start. A layer of zeros alone was never pruned (a new head): it trains freely."""

    @torch.no_grad()
    def start(self) -> None:
        for layer in self.layers:
            mask = layer.weight != 0
            if mask.any() and not mask.all():
                self.masks[layer.name] = mask
        if not self.masks:
            raise PruneError(
                f"method 'fixed' keeps the zeros of a pruned model, found none in {len(self.layers)} layers: "
                "prune the model first, or take another method"
            )
