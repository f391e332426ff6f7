"""The algebra of second-order pruning on a device that is not the CPU: nothing mixes devices, and nothing else changes.

There is no GPU where tests run; `pretended_device` fails where PyTorch would, and computes on the CPU.
"""

import numpy as np
import pytest
import torch

from secateur.compression.prune import parse_scheme
from secateur.compression.prune.second_order import prune_second_order
from secateur.compression.prune.second_order.allocation import layer_costs, loss_rates
from secateur.dialects.number_formats import STORAGES

from .pretended_device import GPU, OnGpu, pretended_gpu

SCHEMES = [
    *(("bcr", "4x1"), ("bcr", "1x4"), ("bcr", "4x8"), ("tile", "2x4"), ("tile", "4x4"), ("block", "8")),
    *(("unstructured", None), ("nm", "2:4"), ("pattern", "4x4"), ("filter", None)),
]


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(20, 24), torch.nn.Linear(24, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


def _inputs() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{"x": generator.standard_normal((4, 10, 20)).astype(np.float32)} for _ in range(3)]


def _pruned(module: torch.nn.Module, name: str, block: str | None, storage: str | None) -> torch.nn.Module:
    scheme = parse_scheme(name, block)
    sparsity = None if scheme.fixed_sparsity is not None else 0.5
    rates = None if sparsity is None or name == "filter" else loss_rates(layer_costs(module, _inputs(), scheme), 0.5)
    stored = STORAGES[storage] if storage else None
    return prune_second_order(module, _inputs(), scheme, sparsity, rates=rates, storage=stored, copy=False)[0]


@pytest.mark.parametrize("name, block", SCHEMES)
@pytest.mark.parametrize("storage", [None, "int8"])
def test_a_layer_is_pruned_there_as_on_the_cpu(name, block, storage):
    wanted, there = _pruned(Small(), name, block, storage), Small()
    with pretended_gpu():
        there.to(GPU)
        assert all(isinstance(parameter, OnGpu) for parameter in there.parameters())
        found = _pruned(there, name, block, storage).to("cpu")
    assert (wanted.first.weight == 0).any() or (wanted.second.weight == 0).any()
    if storage is None:
        for parameter, expected in wanted.state_dict().items():
            assert torch.equal(found.state_dict()[parameter], expected), parameter
    # A rounding may fall to the other side, and so may all that follow it: products are summed in another order. The
    # result must be as good.
    assert _error(found) <= 1.2 * _error(wanted)


def _error(module: torch.nn.Module) -> float:
    """How far the outputs are from those of the model before it was pruned."""
    inputs = torch.from_numpy(np.stack([batch["x"] for batch in _inputs()]))
    with torch.no_grad():
        return float((module(inputs) - Small()(inputs)).square().mean())


def test_what_mixes_devices_fails_here():
    with pretended_gpu():
        there = torch.ones(3).to(GPU)
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
