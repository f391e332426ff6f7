"""Methods of pruning during training without a trainer: proximal steps, updates, schedules, schemes."""

import itertools

import numpy as np
import pytest
import torch

from secateur.compression.prune import METHODS, PruneError, Scheme, parse_scheme, project
from secateur.compression.prune.groups import tilings
from secateur.compression.prune.methods import Admm, Fixed, Gradual, Reweighted, TrainedLayer, make_method
from secateur.dialects.schemes import PRUNINGS

# Every scheme, with blocks that leave a remainder in the weights of these tests.
SMALL = {"bcr": ((4, 8), (4, 1)), "block": ((8,),), "punched": ((4, 2),), "kgs": ((4, 2),), "tile": ((2, 4),)}
SCHEMES = [Scheme(name, sizes) for name, rule in PRUNINGS.items() for sizes in SMALL.get(name, (rule.default,))]


def layer_of(scheme, seed=0, shape=(18, 20), sparsity=0.75):
    generator = torch.Generator().manual_seed(seed)
    if scheme.rule.dimensions[0] > 2:
        shape = (18, 5, *(3,) * (scheme.rule.dimensions[-1] - 2))
    weight = torch.nn.Parameter(torch.randn(shape, generator=generator))
    return TrainedLayer("layer", weight, scheme, None if scheme.fixed_sparsity is not None else sparsity)


def train(run, steps, rate=0.1, stop=None):
    """Adam on the distance to something near where the weights started."""
    targets = [layer.weight.detach() * 0.8 + 0.1 for layer in run.layers]
    optimizer = torch.optim.Adam([layer.weight for layer in run.layers], lr=rate)
    run.start()
    for step in range(stop or steps):
        optimizer.zero_grad()
        sum((layer.weight - t).square().mean() for layer, t in zip(run.layers, targets, strict=True)).backward()
        run.mask_gradients()
        optimizer.step()
        run.after_step(step + 1, optimizer)
    run.finish(optimizer)
    return optimizer


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("method", [Admm(), Reweighted(), Gradual()], ids=lambda method: method.name)
@pytest.mark.parametrize("stop", [None, 3], ids=["whole", "stopped"])
def test_every_method_ends_with_zeros_of_every_scheme(method, scheme, stop):
    layer = layer_of(scheme)
    run = method.begin([layer], 20, None)
    train(run, 20, stop=stop)
    kept = run.masks["layer"].numpy()
    np.testing.assert_array_equal(scheme.rule.encoding(kept).kept(kept), kept)
    assert not (layer.weight.detach().numpy()[~kept] != 0).any()
    budget = round((1 - layer.wanted) * kept.size)
    assert abs(kept.sum() - budget) <= scheme.rule.step(kept.shape)
    # A weight that is kept may be zero for now, where an earlier mask had removed it.
    assert 1 - kept.mean() - 1e-6 <= run.figures()["sparsity"] < 1 - kept.mean() + 0.05
    assert 0 < layer.kept_norm_fraction <= 1


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_step_of_admm_minimises_penalty_and_distance(scheme):
    layer = layer_of(scheme)
    run = Admm(rho=0.3, every=4).begin([layer], 20, None)
    run.start()
    run.u["layer"] = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1))
    before = layer.weight.detach().clone()
    run.after_step(1)
    penalty = 0.3 / 2 * (layer.weight - run.z["layer"] + run.u["layer"]).square().sum()
    assert run.figures()["penalty"] == pytest.approx(penalty.item(), rel=1e-4)
    (gradient,) = torch.autograd.grad(penalty + 4 / 2 * (layer.weight - before).square().sum(), layer.weight)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_step_of_reweighted_is_soft_thresholding(scheme):
    layer = layer_of(scheme)
    run = Reweighted(strength=8, penalty_fraction=0.5, every=5).begin([layer], 20, None)
    run.start()
    start = layer.weight.detach().reshape(-1).clone()
    expected, scale, penalty = start.clone(), start.square().mean().sqrt(), 0.0
    kinds = units(scheme, layer.weight.shape)
    thresholds = []
    for groups in kinds:
        norms = torch.tensor([start[group].square().mean().sqrt() / scale for group in groups])
        edge = norms.sort().values[int((1 - (1 - layer.wanted) ** (1 / len(kinds))) * (len(norms) - 1))]
        rate = 8 * (edge**3 / 3 + 0.01 * edge) / 10 / len(kinds)
        thresholds.append(scale * rate / (norms**2 + 0.01))
    for groups, limits in zip(kinds, thresholds, strict=True):
        for group, limit in zip(groups, limits, strict=True):
            expected[group] *= max(0, 1 - limit / expected[group].square().mean().sqrt())
    run.after_step(1)
    torch.testing.assert_close(layer.weight.detach().reshape(-1), expected, rtol=1e-4, atol=1e-6)
    assert (expected == 0).any() and (expected != 0).any()
    for groups, limits in zip(kinds, thresholds, strict=True):
        norms = torch.tensor([expected[group].square().mean().sqrt() for group in groups])
        penalty += sum(limit * norm * len(group) for limit, norm, group in zip(limits, norms, groups, strict=True))
    assert run.figures()["penalty"] == pytest.approx(float(penalty), rel=1e-4)


@pytest.mark.parametrize("method", [Admm(), Reweighted()], ids=lambda method: method.name)
@pytest.mark.parametrize("steps", [40, 400])
def test_the_penalty_works_in_short_trainings_with_small_learning_rates(method, steps):
    """With Adam and a rate of 1e-5 the loss moves no weight by more than 0.004; what is cut is small all the same."""
    layer = layer_of(Scheme("bcr", (4, 1)), shape=(64, 64))
    train(method.begin([layer], steps, None), steps, rate=1e-5)
    assert layer.kept_norm_fraction > 0.98


def units(scheme, shape):
    """The groups of a scheme as lists of flat indices, by hand: one list of groups a kind."""
    indices = np.arange(np.prod(shape)).reshape(shape)
    found = scheme.rule.units(shape)
    if found.shape[2] > 1:
        f, c = scheme.sizes
        kernels = indices.reshape(shape[0], shape[1], -1)
        corners = itertools.product(range(0, shape[0], f), range(0, shape[1], c), range(kernels.shape[2]))
        return [[kernels[i : i + f, j : j + c, k].reshape(-1).tolist() for i, j, k in corners]]
    kinds = [tile[:2] for tile in found.tiles]
    return [
        [
            indices[i : i + h, j : j + w].reshape(-1).tolist()
            for i in range(0, shape[0], h)
            for j in range(0, shape[1], w)
        ]
        for h, w in kinds
    ]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_groups_of_every_scheme(scheme):
    weight = layer_of(scheme).weight.detach()
    kinds = tilings(scheme, tuple(weight.shape))
    by_hand = units(scheme, weight.shape)
    assert len(kinds) == len(by_hand)
    for tiling, groups in zip(kinds, by_hand, strict=True):
        sums = tiling.sums(weight.square())
        expected = torch.tensor([float(weight.reshape(-1)[group].square().sum()) for group in groups])
        torch.testing.assert_close(sums.reshape(-1), expected)
        assert tiling.sizes().reshape(-1).tolist() == [len(group) for group in groups]
        spread = tiling.spread(torch.arange(len(groups)).reshape(sums.shape), weight.shape).reshape(-1)
        assert all(set(spread[group].tolist()) == {number} for number, group in enumerate(groups))


def test_admm_updates():
    layer = layer_of(Scheme("unstructured"))
    run = Admm(rho=0.1, rho_final=0.4, every=5, admm_fraction=0.5).begin([layer], 30, None)
    run.start()
    start = layer.weight.detach().clone()
    mask = torch.from_numpy(project(start.numpy(), layer.scheme, 0.75))
    assert torch.equal(run.z["layer"], start * mask) and not run.u["layer"].any()
    for step in range(1, 5):
        run.after_step(step)
    assert torch.equal(run.z["layer"], start * mask)
    run.after_step(5)
    first = layer.weight.detach().clone()
    torch.testing.assert_close(first, torch.where(mask, start, start / (1 + 0.1 / 5) ** 5))
    # rho doubles (two updates to four times), so the scaled dual halves.
    assert run.rho == pytest.approx(0.2)
    torch.testing.assert_close(run.u["layer"], first * ~mask / 2)
    torch.testing.assert_close(run.z["layer"], start * mask)
    for step in range(6, 11):
        run.after_step(step)
    summed = layer.weight.detach() + first * ~mask / 2
    kept = torch.from_numpy(project(summed.numpy(), layer.scheme, 0.75))
    assert run.rho == pytest.approx(0.4)
    torch.testing.assert_close(run.z["layer"], summed * kept)
    torch.testing.assert_close(run.u["layer"], (summed - summed * kept) / 2)
    assert not run.masks
    run.after_step(15)
    assert not run.z and run.masks["layer"].sum() == 90


def test_admm_pulls_the_weights_to_the_scheme():
    torch.manual_seed(0)
    layer = layer_of(Scheme("bcr", (4, 8)))
    optimizer = torch.optim.SGD([layer.weight], lr=0.05)
    target = layer.weight.detach().clone()
    run = Admm(rho=0.5, rho_final=2.0, updates=20, admm_fraction=0.9).begin([layer], 400, None)
    run.start()
    residuals = []
    for step in range(359):
        optimizer.zero_grad()
        (0.5 * (layer.weight - target).square().sum()).backward()
        run.mask_gradients()
        optimizer.step()
        run.after_step(step + 1, optimizer)
        residuals.append(run.figures()["residual"])
    assert residuals[0] > 0.5 and residuals[-1] < 0.05


def test_learning_rate_restarts():
    run = Admm(every=10, admm_fraction=0.5, restart_floor=0.2).begin([layer_of(Scheme("filter"))], 40, None)
    factors = [run.learning_rate_factor(step) for step in range(40)]
    assert factors[0] == factors[10] == 1 and factors[5] == factors[15] == pytest.approx(0.6)
    assert all(a > b for a, b in itertools.pairwise(factors[:10])) and factors[9] > 0.2
    assert factors[20:] == [1.0] * 20
    linear = Admm(every=10, restart="linear", restart_floor=0.0).begin([layer_of(Scheme("filter"))], 40, None)
    assert linear.learning_rate_factor(13) == pytest.approx(0.7)
    assert Admm(restart="none").begin([layer_of(Scheme("filter"))], 40, None).learning_rate_factor(3) == 1


def test_updates_by_epochs():
    assert Admm(every_epochs=0.5).begin([layer_of(Scheme("filter"))], 100, 12).every == 6
    assert Reweighted(every_epochs=2).begin([layer_of(Scheme("filter"))], 100, 12).every == 24
    with pytest.raises(PruneError, match="'every_epochs' needs a data set with a length"):
        Admm(every_epochs=1).begin([layer_of(Scheme("filter"))], 100, None)


def test_gradual_sparsity_follows_the_cube():
    layer = layer_of(Scheme("unstructured"))
    run = Gradual(begin_fraction=0.1, end_fraction=0.6, initial_sparsity=0.2, every=10).begin([layer], 100, None)
    run.start()
    seen = {}
    for step in range(1, 101):
        run.after_step(step)
        seen[step] = run.sparsity_fraction()
    assert seen[9] == 0 and seen[10] == seen[19] == pytest.approx(0.2, abs=0.003)
    for step in (20, 30, 40, 50):
        assert seen[step] == pytest.approx(0.75 - 0.55 * (1 - (step - 10) / 50) ** 3, abs=0.003)
    assert seen[60] == seen[100] == 0.75
    mask = run.masks["layer"]
    with torch.no_grad():
        layer.weight.add_(1)
    run.after_step(100)
    assert run.masks["layer"] is mask and torch.equal(layer.weight != 0, mask)


def test_n_of_m_rises_through_larger_n():
    layer = layer_of(Scheme("nm", (1, 4)))
    run = Gradual(end_fraction=1.0, every=1, power=1).begin([layer], 8, None)
    run.start()
    for step in range(1, 9):
        run.after_step(step)
        kept = (layer.weight.detach().numpy() != 0).reshape(18, 5, 4).sum(axis=2)
        assert set(kept.reshape(-1)) == {max(1, round((1 - 0.75 * step / 8) * 4))}


def test_reweighting_separates_small_groups_from_large_ones():
    torch.manual_seed(0)
    strong = torch.zeros(16, 16, dtype=torch.bool)
    strong[:, ::4] = True
    layer = layer_of(Scheme("bcr", (4, 1)), shape=(16, 16))
    with torch.no_grad():
        layer.weight.copy_(torch.where(strong, 1.0, 0.3) * torch.sign(layer.weight))
    run = Reweighted(penalty_fraction=1.0).begin([layer], 100, None)
    run.start()
    before = layer.weight.detach().clone()
    for step in range(1, 100):
        run.after_step(step)
    ratio = layer.weight.detach().abs() / before.abs()
    assert ratio[strong].min() > 0.95 and ratio[~strong].max() < 0.5
    run.after_step(100)
    assert torch.equal(run.masks["layer"], strong)


def test_one_threshold_for_all_layers_cuts_the_weaker_more():
    first, second = layer_of(Scheme("unstructured")), layer_of(Scheme("unstructured"), seed=1)
    second = TrainedLayer("second", second.weight, second.scheme, 0.75)
    with torch.no_grad():
        second.weight.mul_(2)
    run = Reweighted(cut="global", penalty_fraction=0.1).begin([first, second], 10, None)
    train(run, 10, rate=1e-5)
    zeros = [float((layer.weight == 0).float().mean()) for layer in (first, second)]
    assert zeros[0] > zeros[1] + 0.1 and np.mean(zeros) == pytest.approx(0.75, abs=0.005)


def test_fixed_keeps_what_is_zero_and_leaves_new_heads_alone():
    pruned, new = layer_of(Scheme("unstructured")), layer_of(Scheme("unstructured"), seed=1)
    new.name = "new"
    with torch.no_grad():
        pruned.weight[:, ::2] = 0
        new.weight.zero_()
        target = torch.ones_like(new.weight)
    run = Fixed().begin([pruned, new], 5, None)
    run.start()
    optimizer = torch.optim.Adam([pruned.weight, new.weight], lr=0.1, weight_decay=0.1)
    for step in range(5):
        optimizer.zero_grad()
        sum((layer.weight - target).square().sum() for layer in (pruned, new)).backward()
        run.mask_gradients()
        optimizer.step()
        run.after_step(step + 1, optimizer)
        assert not pruned.weight[:, ::2].any() and pruned.weight[:, 1::2].all()
    assert new.weight.all()
    with pytest.raises(PruneError, match="found none in 1 layers: prune the model first"):
        Fixed().begin([layer_of(Scheme("unstructured"))], 5, None).start()


def test_the_optimizer_forgets_removed_weights():
    layer = layer_of(Scheme("unstructured"))
    optimizer = train(Gradual().begin([layer], 20, None), 20)
    removed = layer.weight == 0
    assert optimizer.state[layer.weight]["exp_avg"][~removed].all()
    assert not optimizer.state[layer.weight]["exp_avg"][removed].any()
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()  # without anybody who applies masks
    assert not layer.weight[removed].any() and layer.weight[~removed].all()


@pytest.mark.parametrize(
    "name,options,message",
    [
        ("adm", {}, "unknown method 'adm': did you mean 'admm'"),
        ("admm", {"rhos": 1}, "method 'admm' has no option 'rhos': accepted are admm_fraction, rho, rho_final"),
        ("fixed", {"every": 1}, "method 'fixed' has no option 'every': accepted are none"),
        ("admm", {"rho": 0}, "'rho' is a positive number, found 0"),
        ("admm", {"admm_fraction": 1.5}, "between 0 and 1, found 1.5"),
        ("admm", {"restart": "sine"}, "'restart' is one of cosine, linear, none, found 'sine'"),
        ("reweighted", {"cut": "row"}, "'cut' is one of layer, global, found 'row'"),
        ("reweighted", {"eps": -1}, "'eps' is a positive number"),
        ("gradual", {"begin_fraction": 0.8}, "begins before it ends"),
        ("gradual", {"initial_sparsity": 1.0}, "less than 1, found 1"),
    ],
)
def test_malformed_options_are_a_sentence(name, options, message):
    with pytest.raises(PruneError, match=message):
        make_method(name, options)


def test_methods_have_the_names_they_are_listed_under():
    assert {name: method.name for name, method in METHODS.items()} == {name: name for name in METHODS}
    assert sorted(METHODS) == ["admm", "fixed", "gradual", "reweighted"]
    with pytest.raises(PruneError, match="a training of 0 steps is too short"):
        Admm().begin([layer_of(parse_scheme("bcr"))], 0, None)
