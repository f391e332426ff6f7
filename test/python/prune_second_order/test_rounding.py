"""Weights that are rounded where they are pruned: what is stored, and how far outputs are from each rounded alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.compression.prune import Scheme, project, prune_model
from secateur.compression.prune.second_order import layer as solving
from secateur.compression.prune.second_order import prune_second_order, rounding
from secateur.compression.prune.second_order.correction import damped, least_squares, output_error
from secateur.compression.prune.second_order.layer import solve
from secateur.compression.prune.second_order.rounding import nearest, rounded
from secateur.dialects.number_formats import STORAGES

INT8 = STORAGES["int8"]


def problem(rows=16, columns=48, tokens=300, seed=0):
    """A weight, and damped second moments of inputs whose features depend on each other."""
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=g, dtype=torch.float64)
    x = torch.randn(tokens, columns, generator=g, dtype=torch.float64)
    x = x @ torch.randn(columns, columns, generator=g, dtype=torch.float64)
    return weight, damped(x.T @ x, 0.01)


def stored(weight, storage=INT8):
    return storage.store_rows(weight.numpy())


@pytest.mark.parametrize("height", [1, 4, 16])
@pytest.mark.parametrize("name", ["int8", "f16"])
def test_outputs_are_nearer_than_with_each_weight_rounded_alone(height, name):
    weight, second = problem()
    g = torch.Generator().manual_seed(1)
    mask = (torch.rand(16 // height, 48, generator=g) < 0.4).repeat_interleave(height, dim=0)
    best = least_squares(weight, mask, second)
    ours = rounded(best, weight, mask, second, STORAGES[name])
    # What rounding adds to the error of the pruning.
    added = [output_error(w - weight, second) - output_error(best - weight, second)
             for w in (ours, nearest(best, STORAGES[name]))]  # fmt: skip
    assert 0 < added[0] < 0.9 * added[1]
    assert not ours[~mask].any()


def test_one_row_is_rounded_as_the_definition_says():
    """Optimal brain quantisation in the order of the columns: after each rounding the rest is solved for anew."""
    weight, second = problem(rows=1, columns=9, seed=3)
    scale = INT8.scales(weight.abs().amax(dim=1).numpy())
    current, largest = weight[0].clone(), int(weight[0].abs().argmax())
    for column in range(9):
        value = weight[0, column] if column == largest else current[column]
        read = INT8.read(INT8.store(value[None].numpy(), scale), scale)[0]
        free = torch.arange(column + 1, 9)
        # The optimum of the columns behind, where this one moves by `moved`: d_F = -[H_FF]^-1 H_Fc d_c.
        moved = float(read) - current[column]
        current[column] = float(read)
        if len(free):
            current[free] -= torch.linalg.solve(second[free][:, free], second[free, column] * moved)
    expected = min(current[None], nearest(weight, INT8), key=lambda w: output_error(w - weight, second))
    ours = rounded(weight, weight, torch.ones(1, 9, dtype=torch.bool), second, INT8)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 20),
    kept=st.floats(0, 1),
    seed=st.integers(0, 1000),
    together=st.sampled_from([1, 3, 64]),
)
def test_storing_again_gives_the_same_bytes_and_zeros_stay(rows, columns, kept, seed, together):
    weight, second = problem(rows, columns, seed=seed)
    mask = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < kept
    best = least_squares(weight, mask, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "_TOGETHER", together)
        patch.setattr(rounding, "_BATCH_BYTES", 1 << 12)
        ours = rounded(best, weight, mask, second, INT8)
    assert not ours[~mask].any()
    assert output_error(ours - weight, second) <= output_error(nearest(best, INT8) - weight, second) * (1 + 1e-9)
    levels, scales = stored(ours.float())
    assert (np.abs(levels).max(axis=1) == np.where(best.abs().amax(dim=1) > 0, 127, 0)).all()
    np.testing.assert_allclose(INT8.read_rows(levels, scales), ours.numpy(), rtol=1e-6)


def test_sizes_of_batches_change_nothing(monkeypatch):
    weight, second = problem()
    mask = torch.rand(16, 48, generator=torch.Generator().manual_seed(2)) < 0.5
    best = least_squares(weight, mask, second)
    whole = rounded(best, weight, mask, second, INT8)
    monkeypatch.setattr(rounding, "_BATCH_BYTES", 1)
    monkeypatch.setattr(rounding, "_TOGETHER", 5)
    torch.testing.assert_close(rounded(best, weight, mask, second, INT8), whole)


@pytest.mark.parametrize(
    "scheme,sparsity",
    [
        (Scheme("bcr", (4, 1)), 0.6),
        (Scheme("nm", (2, 4)), None),
        (Scheme("tile", (4, 4)), 0.6),
        (Scheme("unstructured"), 0.0),
    ],
    ids=str,
)
def test_a_layer_is_pruned_as_without_rounding_and_holds_what_is_stored(scheme, sparsity):
    weight, second = problem(rows=32, columns=48)
    plain = solve(weight, second, scheme, sparsity, 0.01)
    found = solve(weight, second, scheme, sparsity, 0.01, storage=INT8)
    assert torch.equal(found.mask, plain.mask)
    assert plain.error < found.error < output_error(nearest(plain.weight, INT8) - weight, second)
    assert (np.abs(stored(found.weight)[0]).max(axis=1) == 127).all()


def two_layers():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(24, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))


def test_a_pruned_model_is_rounded_with_its_zeros():
    module, _ = prune_model(two_layers(), Scheme("bcr", (4, 1)), 0.5)
    batches = [{"input": torch.randn(200, 24, generator=torch.Generator().manual_seed(5))}]
    result, report = prune_second_order(module, batches, None, storage=INT8, correct_bias=False)
    assert report.scheme == "zeros kept" and report.sparsity_fraction == pytest.approx(0.5, abs=0.02)
    x = batches[0]["input"]
    alone = two_layers()
    alone.load_state_dict(module.state_dict())
    for ours, theirs in zip(result, alone, strict=True):
        if isinstance(ours, torch.nn.Linear):
            assert not ours.weight[theirs.weight == 0].any()
            levels, scales = stored(ours.weight.detach())
            np.testing.assert_allclose(INT8.read_rows(levels, scales), ours.weight.detach(), rtol=1e-6)
            with torch.no_grad():
                theirs.weight.copy_(nearest(theirs.weight, INT8))
    far = [float((model(x) - module(x)).detach().square().sum()) for model in (result, alone)]
    assert 0 < far[0] < far[1]


@pytest.mark.parametrize("storage", [None, INT8], ids=["f32", "int8"])
def test_a_choice_that_is_worse_than_the_largest_weights_is_not_taken(monkeypatch, storage):
    weight, second = problem(rows=32, columns=48)
    scheme = Scheme("bcr", (4, 1))
    largest = torch.from_numpy(project(weight.numpy(), scheme, 0.6))
    simple = weight * largest if storage is None else nearest(weight * largest, storage)
    monkeypatch.setattr(solving, "_mask", lambda *_: torch.zeros(weight.shape, dtype=torch.bool))
    found = solve(weight, second, scheme, 0.6, 0.01, storage=storage)
    assert torch.equal(found.mask, largest)
    assert found.error == pytest.approx(output_error(found.weight - weight, second))
    assert found.error < output_error(simple - weight, second)
