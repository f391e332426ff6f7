"""Removal orders and corrections against brute force on problems small enough for it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.compression.prune.second_order import blocks
from secateur.compression.prune.second_order.blocks import block_mask
from secateur.compression.prune.second_order.correction import damped, least_squares, output_error
from secateur.compression.prune.second_order.removal import removal_order


def problem(rows, columns, tokens=None, seed=0):
    """A weight, inputs that depend on each other, and their damped second moments."""
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=g, dtype=torch.float64)
    mixing = torch.randn(columns, columns, generator=g, dtype=torch.float64)
    x = torch.randn(tokens or 4 * columns, columns, generator=g, dtype=torch.float64) @ mixing
    return weight, x, damped(x.T @ x, 0.01)


def best_error(weight, second, removed):
    """The least error of the rows of `weight` without the columns `removed`, by the normal equations."""
    kept = [c for c in range(weight.shape[1]) if c not in removed]
    weight, second = weight.numpy(), second.numpy()
    new = np.zeros_like(weight)
    new[:, kept] = weight @ second[:, kept] @ np.linalg.inv(second[np.ix_(kept, kept)])
    change = new - weight
    return float(np.einsum("rc,cd,rd->", change, second, change))


@pytest.mark.parametrize("rows,group", [(1, 1), (3, 1), (1, 2), (2, 3)])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_first_unit_to_go_is_the_best_of_all(rows, group, seed):
    weight, _, second = problem(rows, 6, seed=seed)
    order, cost = removal_order(weight[None], torch.linalg.inv(second), group)
    units = [list(range(u * group, (u + 1) * group)) for u in range(6 // group)]
    errors = [best_error(weight, second, unit) for unit in units]
    assert int(order[0, 0]) == int(np.argmin(errors))
    assert float(cost[0, 0]) == pytest.approx(min(errors), rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_two_units_are_near_the_best_pair(seed):
    weight, _, second = problem(2, 6, seed=seed)
    order, _ = removal_order(weight[None], torch.linalg.inv(second))
    assert sorted(order[0].tolist()) == list(range(6))
    first = int(order[0, 0])
    # Greedy: the best second one after the first, and so never worse than any pair that holds the first.
    pairs = {pair: best_error(weight, second, pair) for pair in itertools.combinations(range(6), 2)}
    with_first = min(error for pair, error in pairs.items() if first in pair)
    assert pairs[tuple(sorted(order[0, :2].tolist()))] == pytest.approx(with_first, rel=1e-6)


@pytest.mark.parametrize("columns,group", [(40, 1), (48, 4)])
def test_costs_of_an_order_add_up_to_the_error(columns, group):
    """Whatever the steps and compactions: what was added so far is the error of the optimum without these units."""
    weight, _, second = problem(3, columns, seed=5)
    order, cost = removal_order(weight[None], torch.linalg.inv(second), group)
    assert (cost.diff(dim=1) >= 0).all()
    total = output_error(weight, second)
    assert float(cost.sum()) >= total * (1 - 1e-9)
    removed = [u * group + i for u in order[0, : 20 // group].tolist() for i in range(group)]
    mask = torch.ones(3, columns, dtype=torch.bool)
    mask[:, removed] = False
    error = output_error(least_squares(weight, mask, second) - weight, second)
    assert error == pytest.approx(best_error(weight, second, removed), rel=1e-6)
    assert float(cost[0, : 20 // group].sum()) == pytest.approx(error, rel=0.15)


def test_batches_of_bands_do_not_change_the_order(monkeypatch):
    weight, _, second = problem(12, 20, seed=3)
    inverse = torch.linalg.inv(second)
    whole = removal_order(weight.reshape(6, 2, 20), inverse)
    monkeypatch.setattr("secateur.compression.prune.second_order.removal._BATCH_BYTES", 1)
    single = removal_order(weight.reshape(6, 2, 20), inverse)
    assert torch.equal(whole[0], single[0])
    torch.testing.assert_close(whole[1], single[1])


def test_n_of_m_leaves_n_of_each_set():
    weight, _, second = problem(5, 22, seed=1)
    order, _ = removal_order(weight[:, None], torch.linalg.inv(second), 1, 2, 4)
    mask = torch.ones(5, 22, dtype=torch.bool).scatter(1, order, False)
    assert (mask[:, :20].reshape(5, 5, 4).sum(dim=2) == 2).all()
    assert (mask[:, 20:].sum(dim=1) == 2).all()


@settings(deadline=None, max_examples=15)
@given(rows=st.integers(1, 5), columns=st.integers(2, 9), seed=st.integers(0, 10**6))
def test_least_squares_is_the_optimum(rows, columns, seed):
    weight, x, second = problem(rows, columns, seed=seed)
    mask = torch.from_numpy(np.random.default_rng(seed).random((rows, columns)) < 0.6)
    found = least_squares(weight, mask, second)
    assert not found[~mask].any()
    # As regression of the outputs on the kept inputs, with the ridge that pulls towards the old weights.
    ridge = float(second[0, 0] - (x.T @ x)[0, 0]) ** 0.5
    inputs = np.vstack([x.numpy(), ridge * np.eye(columns)])
    for row in range(rows):
        kept = mask[row].numpy()
        solution = np.linalg.lstsq(inputs[:, kept], inputs @ weight[row].numpy(), rcond=None)[0]
        np.testing.assert_allclose(found[row].numpy()[kept], solution, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_first_unit_of_a_block_is_the_best_of_all_rows_and_columns(seed):
    weight, _, second = problem(2, 4, seed=seed)
    costs = {}
    for c in range(4):
        costs["column", c] = best_error(weight, second, [c]) / 2
    for r, chunk in itertools.product(range(2), range(2)):
        costs["row", r, chunk] = best_error(weight[r : r + 1], second, [2 * chunk, 2 * chunk + 1]) / 2
    mask = block_mask(weight, torch.linalg.inv(second), (2, 2), 6)
    best = min(costs, key=lambda unit: costs[unit])
    expected = torch.ones(2, 4, dtype=torch.bool)
    if best[0] == "column":
        expected[:, best[1]] = False
    else:
        expected[best[1], 2 * best[2] : 2 * best[2] + 2] = False
    assert torch.equal(mask, expected)


def test_the_last_step_of_a_band_changes_nothing_for_bands_that_keep_more(monkeypatch):
    weight, _, second = problem(16, 64, seed=3)
    inverse = torch.linalg.inv(second)
    found = block_mask(weight, inverse, (4, 16), 512)
    monkeypatch.setattr(blocks, "_LAST_FRACTION", 0)
    assert torch.equal(found, block_mask(weight, inverse, (4, 16), 512))


def test_a_band_that_is_worth_nothing_loses_all():
    weight, _, second = problem(8, 32, seed=4)
    weight[:4] *= 1e-4
    mask = block_mask(weight, torch.linalg.inv(second), (4, 16), 96)
    assert not mask[:4].any()
    assert 96 - 16 < int(mask.sum()) <= 96
