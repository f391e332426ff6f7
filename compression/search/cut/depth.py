"""Which layers a model can do without: those whose absence changes its outputs least."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import nn

from secateur.compression.prune.second_order.calibration import Calibration
from secateur.compression.prune.second_order.sensitivity import first_outputs

from .encoder import Encoder
from .statistics import Batches


@dataclasses.dataclass(frozen=True)
class LayerOrder:
    """`order`: numbers of layers, the one to leave out first before all others; the last one is never left out.

    `errors`: of the variance of the model's outputs, the fraction that is lost once 0, 1, 2 ... of them are gone.
    """

    order: tuple[int, ...]
    errors: tuple[float, ...]

    def kept(self, count: int) -> tuple[int, ...]:
        """The `count` layers that go last, rising."""
        return tuple(sorted(self.order[len(self.order) - count :]))


def layer_order(
    module: nn.Module, batches: Batches, progress: Callable[[int, int], None] = lambda done, total: None
) -> LayerOrder:
    """Leaves out one layer after the other, each time the one without which the outputs for the first of `batches` (32
    windows will do) are nearest to the dense model's: layers (layers + 1) / 2 runs. The module stays as it was.

    Raises `SearchError` for a model that cannot be cut, `PruneError` for inputs that do not fit it.
    """
    calibration = Calibration(module, batches[:1])
    dense = first_outputs(calibration)
    left = list(range(len(Encoder(module).layers)))
    total, done = len(left) * (len(left) + 1) // 2 - 1, 0
    order, errors = [], [0.0]
    while len(left) > 1:
        found = []
        for number in left:
            with _only(module, [other for other in left if other != number]):
                found.append((output_change(dense, first_outputs(calibration)), number))
            done += 1
            progress(done, total)
        error, number = min(found)
        order.append(number)
        errors.append(error)
        left.remove(number)
    return LayerOrder((*order, *left), tuple(errors))


def output_change(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    """The squared difference of outputs over the variance of those before, both summed over a token's entries; the mean
    of the outputs where there are several."""
    changes = []
    for one, other in zip(before, after, strict=True):
        variance = float((one - one.mean()).square().sum())
        changes.append(float((other - one).square().sum()) / variance if variance else 0.0)
    return sum(changes) / max(1, len(changes))


@contextlib.contextmanager
def _only(module: nn.Module, numbers: list[int]) -> Iterator[None]:
    encoder = Encoder(module)
    layers, count = encoder.layers, encoder.config.num_hidden_layers
    holder, _, name = encoder.family.layers.rpartition(".")
    encoder.keep(numbers)
    try:
        yield
    finally:
        setattr(encoder.base.get_submodule(holder), name, layers)
        encoder.config.num_hidden_layers = count
