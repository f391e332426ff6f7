"""Sparsities by layer: names and patterns, and one threshold over all layers."""

import numpy as np
import pytest
import torch

from secateur.compression.prune import PruneError, Scheme, global_rates, layer_rates, parse_scheme, project, prune_model

NAMES = ["encoder.0.query", "encoder.0.dense", "encoder.1.query", "encoder.1.dense"]


def test_a_name_comes_before_patterns_and_a_pattern_before_the_rest():
    rates = {"*.query": 0.9, "encoder.1.*": 0.5, "encoder.1.dense": 0.0}
    assert list(layer_rates(NAMES, 0.8, rates).values()) == [0.9, 0.8, 0.9, 0.0]
    assert layer_rates(NAMES, None, {"*.query": 0.9})["encoder.0.dense"] is None
    assert set(layer_rates(NAMES, 0.8).values()) == {0.8}


@pytest.mark.parametrize(
    "rates,message",
    [
        ({"*.query": 1.0}, r"the rate of '\*.query' is at least 0 and less than 1, found 1"),
        ({"*.key": 0.5}, r"'\*.key' fits no layer that is to be pruned"),
        ({"encoder.0.quary": 0.5}, "did you mean 'encoder.0.query'"),
        ({"*.query": float("nan")}, "found nan"),
    ],
)
def test_malformed_rates_are_a_sentence(rates, message):
    with pytest.raises(PruneError, match=message):
        layer_rates(NAMES, 0.8, rates)


def test_a_model_is_pruned_to_its_rates():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 64))
    pruned, report = prune_model(module, Scheme("unstructured"), 0.5, rates={"1": 0.875})
    zeros = [float((layer.weight == 0).double().mean()) for layer in pruned]
    assert zeros == [0.5, 0.875]
    assert report.wanted_sparsity == report.sparsity_fraction == 0.75
    with pytest.raises(PruneError, match="layer '0': scheme 'unstructured' needs a sparsity"):
        prune_model(module, Scheme("unstructured"), rates={"1": 0.875})


def weights_of_different_size():
    random = np.random.default_rng(0)
    shapes = {"small": (24, 32, 0.3), "mean": (64, 48, 1.0), "large": (33, 70, 2.0)}
    return {name: (scale * random.standard_normal((r, c))).astype(np.float32) for name, (r, c, scale) in shapes.items()}


@pytest.mark.parametrize(
    "scheme", [Scheme("unstructured"), Scheme("filter"), Scheme("block", (8,)), Scheme("bcr", (4, 1)),
               Scheme("bcr", (4, 8)), Scheme("pattern", (4, 4))], ids=str
)  # fmt: skip
@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.9])
def test_one_threshold_removes_the_wanted_share(scheme, sparsity):
    weights = weights_of_different_size()
    sizes = np.array([weight.size for weight in weights.values()])
    rates = global_rates(weights, scheme, sparsity)
    assert rates["large"] < rates["mean"] and rates["large"] < rates["small"]
    least = 0.25 * (1 - sparsity)
    assert all(0 <= rate <= 1 - least + 1e-9 for rate in rates.values())
    assert sum(np.array(list(rates.values())) * sizes) == pytest.approx(sparsity * sizes.sum(), rel=1e-6)
    assert all(project(weight, scheme, rates[name]).any() for name, weight in weights.items())


def test_the_threshold_is_one_for_single_weights():
    weights = weights_of_different_size()
    rates = global_rates(weights, Scheme("unstructured"), 0.6, floor=0.0)
    everything = np.sort(np.concatenate([np.abs(weight).reshape(-1) for weight in weights.values()]))
    threshold = everything[round(0.6 * everything.size)]
    for name, weight in weights.items():
        assert rates[name] == pytest.approx(float((np.abs(weight) < threshold).mean()), abs=0.005)


def test_no_layer_dies():
    weights = {"tiny": np.full((16, 16), 1e-6, np.float32), "large": np.random.default_rng(0).random((64, 64)) + 1}
    rates = global_rates(weights, Scheme("unstructured"), 0.8)
    assert rates["tiny"] == pytest.approx(0.95) and rates["large"] < 0.8
    assert global_rates(weights, Scheme("unstructured"), 0.8, floor=0.15)["tiny"] == pytest.approx(0.85)
    assert global_rates(weights, Scheme("filter"), 0.97)["tiny"] == pytest.approx(1 - 1 / 16)


@pytest.mark.parametrize(
    "scheme,sparsity,floor,message",
    [
        (parse_scheme("nm"), 0.5, None, "the same sparsity in every layer"),
        (Scheme("unstructured"), 1.0, None, "less than 1, found 1"),
        (Scheme("unstructured"), 0.8, 0.3, "the floor is a fraction from 0 to 0.2, what is kept in all, found 0.3"),
    ],
)
def test_malformed_global_rates_are_a_sentence(scheme, sparsity, floor, message):
    with pytest.raises(PruneError, match=message):
        global_rates(weights_of_different_size(), scheme, sparsity, floor)
    with pytest.raises(PruneError, match="layer 'a': the weight holds values that are NaN or infinite"):
        global_rates({"a": np.full((4, 4), np.nan)}, Scheme("unstructured"), 0.5)
