"""Sparsities of equal marginal loss: their average, the layers that matter, and what is refused."""

import numpy as np
import pytest
import torch

from secateur.compression.prune import PruneError, Scheme
from secateur.compression.prune.second_order import layer_costs, loss_rates, prune_second_order


class Gated(torch.nn.Module):
    """Two layers alike, of which the output of one hardly counts."""

    def __init__(self):
        super().__init__()
        self.important, self.minor = torch.nn.Linear(16, 16), torch.nn.Linear(16, 16)

    def forward(self, x):
        return self.important(x) + 0.1 * self.minor(x)


def setting(scale=1.0):
    torch.manual_seed(0)
    dense = Gated().eval()
    dense.minor.weight.data *= scale
    return dense, [{"x": torch.randn(300, 16, generator=torch.Generator().manual_seed(0))}]


@pytest.mark.parametrize(
    "scheme",
    [Scheme("unstructured"), Scheme("bcr", (2, 1)), Scheme("bcr", (4, 4)), Scheme("block", (4,)), Scheme("filter")],
    ids=str,
)
def test_the_layer_that_counts_keeps_more(scheme):
    dense, given = setting()
    rates = loss_rates(layer_costs(dense, given, scheme), 0.6)
    assert rates["important"] < 0.5 < 0.7 < rates["minor"] <= 0.95
    assert sum(rates.values()) / 2 == pytest.approx(0.6)
    assert loss_rates(layer_costs(dense, given, scheme), 0.6) == rates


def test_the_model_loses_less_than_at_equal_rates():
    dense, given = setting()
    scheme = Scheme("unstructured")
    rates = loss_rates(layer_costs(dense, given, scheme), 0.6)
    own, _ = prune_second_order(dense, given, scheme, rates=rates)
    equal, _ = prune_second_order(dense, given, scheme, 0.6)
    with torch.no_grad():
        outputs = [model(given[0]["x"]) - dense(given[0]["x"]) for model in (own, equal)]
    assert outputs[0].square().sum() < 0.8 * outputs[1].square().sum()


def test_noise_is_relative_to_what_a_layer_gives():
    """A layer ten times as large whose output counts a tenth is as important as the other."""
    dense, given = setting(scale=10.0)
    dense.minor.weight.data.copy_(10 * dense.important.weight)
    rates = loss_rates(layer_costs(dense, given, Scheme("unstructured")), 0.6)
    assert rates["important"] == pytest.approx(rates["minor"], abs=0.1)


def test_bounds_and_faults():
    dense, given = setting()
    rates = loss_rates(layer_costs(dense, given, Scheme("unstructured")), 0.6, highest=0.65)
    assert max(rates.values()) <= 0.65
    assert sum(rates.values()) / 2 == pytest.approx(0.6)
    with pytest.raises(PruneError, match="same sparsity in each layer"):
        loss_rates(layer_costs(dense, given, Scheme("nm", (2, 4))), 0.5)
    with pytest.raises(PruneError, match=r"at most 0\.95, the highest of a layer; found 0\.97"):
        loss_rates(layer_costs(dense, given, Scheme("unstructured")), 0.97)
    dense.spare = torch.nn.Linear(16, 16)
    with pytest.raises(PruneError, match="layer 'spare': no calibration input reaches it"):
        loss_rates(layer_costs(dense, given, Scheme("unstructured")), 0.5)


@pytest.mark.parametrize("scheme", [Scheme("unstructured"), Scheme("bcr", (2, 1))], ids=str)
def test_losses_rise_and_tell_what_pruning_a_layer_does_to_the_outputs(scheme):
    dense, given = setting()
    costs = layer_costs(dense, given, scheme)
    for name, layer in costs.items():
        losses = [layer.loss(s) for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert losses[0] == 0 and losses == sorted(losses) and losses[-1] > 0
        pruned, _ = prune_second_order(dense, given, scheme, 0.5, include=[name])
        with torch.no_grad():
            whole, after = dense(given[0]["x"]), pruned(given[0]["x"])
        found = float((after - whole).square().sum() / (whole - whole.mean()).square().sum())
        assert 0.4 < layer.loss(0.5) / found < 2.5


def test_the_costs_of_a_layer_are_those_of_its_own_inputs():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))
    batches = [{"input": torch.randn(64, 8) * torch.arange(1, 9)}]
    scheme = Scheme("unstructured")
    together = layer_costs(model, batches, scheme)
    for name, costs in together.items():
        np.testing.assert_allclose(costs.densities, layer_costs(model, batches, scheme, include=[name])[name].densities)
