"""The solver against trying everything, and rates on made-up tables."""

import itertools

import numpy as np
import pytest
import torch

from secateur.compression.latency import LatencyError, budget, choose_rates
from secateur.compression.latency.budget import Options, choose_within
from secateur.compression.latency.importance import loss_curves, removed_energy
from secateur.compression.latency.rates import site_options
from secateur.compression.prune import parse_scheme, prune_model

COLUMNS = parse_scheme("bcr", "4x1")


def random_layers(seed, layers=4, options=5, whole=False):
    random = np.random.default_rng(seed)
    draw = (lambda: random.integers(0, 6, options).astype(float)) if whole else (lambda: random.random(options))
    return [Options(draw(), draw()) for _ in range(layers)]


def by_trying(layers, limit):
    """The least loss of all choices that fit; None where none does."""
    best = None
    for choice in itertools.product(*(range(len(layer.costs)) for layer in layers)):
        cost = sum(layer.costs[n] for layer, n in zip(layers, choice, strict=True))
        loss = sum(layer.losses[n] for layer, n in zip(layers, choice, strict=True))
        if cost <= limit + 1e-12 and (best is None or loss < best):
            best = loss
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("whole", [False, True])
def test_the_choice_is_the_best_of_all(seed, whole):
    layers = random_layers(seed, whole=whole)
    least, most = (sum(of(layer.costs) for layer in layers) for of in (min, max))
    for part in (0.0, 0.1, 0.3, 0.7, 1.0):
        limit = least + part * (most - least)
        chosen = choose_within(layers, limit)
        assert sum(layer.costs[n] for layer, n in zip(layers, chosen, strict=True)) <= limit + 1e-9
        loss = sum(layer.losses[n] for layer, n in zip(layers, chosen, strict=True))
        assert loss == pytest.approx(by_trying(layers, limit))


def test_nothing_is_chosen_where_nothing_fits():
    layers = random_layers(0)
    assert choose_within(layers, sum(layer.costs.min() for layer in layers) - 1e-3) is None


def test_a_front_that_is_cut_short_still_fits_and_is_near_the_best(monkeypatch):
    layers = random_layers(3, layers=12, options=40)
    limit = sum(float(np.median(layer.costs)) for layer in layers) * 0.6
    losses = {}
    for points in (20_000, 400):
        monkeypatch.setattr(budget, "_FRONT", points)
        chosen = choose_within(layers, limit)
        assert sum(layer.costs[n] for layer, n in zip(layers, chosen, strict=True)) <= limit + 1e-9
        losses[points] = sum(layer.losses[n] for layer, n in zip(layers, chosen, strict=True))
    assert losses[20_000] <= losses[400] <= losses[20_000] * 1.05


@pytest.fixture
def two_shapes(table_of, layers_of):
    table = table_of(
        {"a": 10.0, "b": 4.0},
        {("a", COLUMNS): {0.5: 6.0, 0.9: 2.0}, ("b", COLUMNS): {0.5: 3.0, 0.9: 1.0}},
        {"a": 2, "b": 1},
    )
    return table, layers_of(table)


def test_rates_meet_the_budget_with_the_least_loss(two_shapes):
    table, layers = two_shapes
    # The second of the layers of shape `a` is ten times as important.
    weights = {"a.0": 1.0, "a.1": 10.0, "b.0": 1.0}
    losses = loss_curves(layers.sites, lambda name, s: weights[name] * s**2, (0.5, 0.7, 0.9))
    found = choose_rates(layers.sites, table, COLUMNS, losses, 14.0, step=0.2)
    assert found.cost <= 14.0
    made = [
        site_options(table.curve(site.shape, COLUMNS), table.dense[site.shape], loss, 0.2)
        for site, loss in zip(layers.sites, losses, strict=True)
    ]
    assert found.loss == pytest.approx(by_trying([option for _, option in made], 14.0))
    by_name = dict(zip([site.modules[0] for site in layers.sites], found.by_site, strict=True))
    assert by_name["a.1"] < by_name["a.0"]


def test_a_budget_of_the_dense_layers_leaves_them_dense(two_shapes):
    table, layers = two_shapes
    losses = loss_curves(layers.sites, lambda name, s: s, (0.5, 0.9))
    assert choose_rates(layers.sites, table, COLUMNS, losses, 24.0).by_site == (0.0, 0.0, 0.0)


def test_more_budget_never_loses_more(two_shapes):
    table, layers = two_shapes
    losses = loss_curves(layers.sites, lambda name, s: s**3, (0.5, 0.9))
    found = [choose_rates(layers.sites, table, COLUMNS, losses, b).loss for b in np.linspace(5.0, 24.0, 15)]
    assert found == sorted(found, reverse=True)
    with pytest.raises(LatencyError, match=r"cost 5 ms at the highest .* found a budget of 4\.9 ms"):
        choose_rates(layers.sites, table, COLUMNS, losses, 4.9)


def test_sparsities_below_the_lowest_measured_are_not_offered():
    grid, options = site_options(((0.5, 0.9), (6.0, 2.0)), 10.0, ((0.0, 0.5, 0.9), (0.0, 1.0, 3.0)), 0.1)
    assert grid.tolist() == pytest.approx([0.0, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert options.costs.tolist() == pytest.approx([10.0, 6.0, 5.0, 4.0, 3.0, 2.0])
    assert options.losses.tolist() == pytest.approx([0.0, 1.0, 1.5, 2.0, 2.5, 3.0])


def test_a_table_of_losses_is_read_between_its_points_and_must_be_complete(two_shapes):
    _, layers = two_shapes
    given = {name: {0.5: 1.0, 0.9: 5.0} for name in ("a.0", "a.1", "b.0")}
    sparsities, losses = loss_curves(layers.sites, given, (0.5, 0.7, 0.9))[0]
    assert (sparsities, losses) == ((0.0, 0.5, 0.7, 0.9), pytest.approx((0.0, 1.0, 3.0, 5.0)))
    with pytest.raises(LatencyError, match=r"layer 'a.0' end at a sparsity of 0.9; needed are some up to 0.95"):
        loss_curves(layers.sites, given, (0.5, 0.95))
    del given["b.0"]
    with pytest.raises(LatencyError, match="that were given have none for layer"):
        loss_curves(layers.sites, given, (0.5, 0.9))
    with pytest.raises(LatencyError, match="no finite number"):
        loss_curves(layers.sites, lambda name, s: float("nan"), (0.5, 0.9))


def test_the_energy_that_is_removed_does_not_depend_on_a_layers_scale():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 16))
    loss = removed_energy(module, COLUMNS)
    _, report = prune_model(module, COLUMNS, 0.75)
    assert loss("0", 0.75) == pytest.approx(256 * (1 - report.layers[0].kept_norm_fraction ** 2))
    with torch.no_grad():
        module[0].weight *= 100
    assert removed_energy(module, COLUMNS)("0", 0.75) == pytest.approx(loss("0", 0.75))
    assert loss("1", 0.5) < loss("1", 0.75) < 256
