"""Projections: the wanted sparsity on any shape, a mask of the scheme, and the largest norm where that is promised."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.compression.prune import SCHEMES, PruneError, Scheme, parse_scheme, project
from secateur.dialects.schemes import NM, Bcr, Block, Punched, detect


def random_weight(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def norm_of(weight, mask):
    return float(np.square(weight, dtype=np.float64)[mask].sum())


def best_norm_by_brute_force(weight, units, budget):
    """The largest norm of a union of `units` (lists of flat indices) of at most `budget` weights."""
    squares = np.square(weight, dtype=np.float64).reshape(-1)
    best = 0.0
    for chosen in itertools.product([False, True], repeat=len(units)):
        kept = [i for keep, unit in zip(chosen, units, strict=True) if keep for i in unit]
        if len(kept) <= budget:
            best = max(best, float(squares[kept].sum()))
    return best


def units_of(shape, scheme):
    indices = np.arange(np.prod(shape)).reshape(shape)
    rows, columns = {
        "unstructured": (1, 1),
        "filter": (1, shape[1]),
        "block": (1, *scheme.sizes),
        "bcr": scheme.sizes,
    }[scheme.name]
    return [
        indices[r : r + rows, c : c + columns].reshape(-1).tolist()
        for r in range(0, shape[0], rows)
        for c in range(0, shape[1], columns)
    ]


@pytest.mark.parametrize(
    "scheme,shape",
    [
        (Scheme("unstructured"), (3, 4)),
        (Scheme("filter"), (9, 2)),
        (Scheme("block", (2,)), (3, 7)),
        (Scheme("block", (3,)), (4, 8)),
        (Scheme("bcr", (2, 1)), (7, 3)),
        (Scheme("bcr", (4, 1)), (6, 5)),
        (Scheme("bcr", (1, 3)), (4, 7)),
    ],
    ids=str,
)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), sparsity=st.floats(0, 0.99))
def test_exact_projections_keep_the_largest_norm(scheme, shape, seed, sparsity):
    weight = random_weight(shape, seed)
    mask = project(weight, scheme, sparsity)
    units = units_of(shape, scheme)
    budget = round((1 - sparsity) * weight.size)
    assert mask.sum() <= budget
    flat = mask.reshape(-1)
    assert all(flat[unit].all() or not flat[unit].any() for unit in units)
    assert norm_of(weight, mask) == pytest.approx(best_norm_by_brute_force(weight, units, budget))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 20),
    st.floats(0, 0.99),
    st.integers(0, 99),
)
def test_bcr_of_any_shape_reaches_the_sparsity_with_rows_and_columns_only(rows, columns, height, width, sparsity, seed):
    height, width = min(height, rows), min(width, columns)
    weight = random_weight((rows, columns), seed)
    mask = project(weight, Scheme("bcr", (height, width)), sparsity)
    np.testing.assert_array_equal(Bcr(height, width).kept(mask), mask)
    budget = round((1 - sparsity) * weight.size)
    assert budget - max(height, width) < mask.sum() <= budget


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("shape", [(96, 128), (101, 67)])
@pytest.mark.parametrize("scheme", [Scheme("bcr", (4, 16)), Scheme("bcr", (4, 1)), Scheme("block", (8,))], ids=str)
def test_sparsity_within_half_a_percent(scheme, shape, sparsity):
    assert 1 - project(random_weight(shape), scheme, sparsity).mean() == pytest.approx(sparsity, abs=0.005)


def test_bcr_search_is_no_worse_than_rows_or_columns_alone():
    weight = random_weight((64, 96), 3)
    scheme = Scheme("bcr", (4, 16))
    searched = norm_of(weight, project(weight, scheme, 0.8))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert searched >= norm_of(weight, project(weight, scheme, 0.8, row_share=share))
    rows_only = project(weight, scheme, 0.8, row_share=1.0)
    np.testing.assert_array_equal(Block(16).kept(rows_only), rows_only)
    columns_only = project(weight, scheme, 0.8, row_share=0.0)
    np.testing.assert_array_equal(Bcr(4, 1).kept(columns_only), columns_only)


@pytest.mark.parametrize("block", ["4x16", "16x1", "4x1", "8x32"])
def test_what_is_pruned_to_bcr_is_detected(block):
    scheme = parse_scheme("bcr", block)
    weight = random_weight((192, 256))
    assert detect(weight * project(weight, scheme, 0.9)) == Bcr(*scheme.sizes)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(8, 30), st.sampled_from([(1, 2), (2, 4), (1, 4), (2, 8)]), st.integers(0, 99))
def test_nm_keeps_the_largest_of_each_group(rows, columns, of, seed):
    weight = random_weight((rows, columns), seed)
    mask = project(weight, Scheme("nm", of))
    assert NM(*of).is_legal(mask)
    for start in range(0, columns, of[1]):
        part, kept = np.abs(weight[:, start : start + of[1]]), mask[:, start : start + of[1]]
        assert (kept.sum(axis=1) == min(of[0], part.shape[1])).all()
        largest = -np.sort(-part, axis=1)[:, : of[0]]
        np.testing.assert_allclose(np.where(kept, part, 0).sum(axis=1), largest.sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(32, 48), (33, 50)])
def test_patterns_are_at_most_eight_of_one_count_and_the_best_of_the_set(shape):
    weight = random_weight(shape)
    mask = project(weight, Scheme("pattern", (4, 4)), 0.75)
    padded = np.zeros((36, 52), bool)
    padded[: shape[0], : shape[1]] = mask
    height, width = -(-shape[0] // 4), -(-shape[1] // 4)
    tiles = [padded[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i in range(height) for j in range(width)]
    inner = [padded[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i in range(8) for j in range(12)]
    masks = {tile.tobytes(): tile for tile in inner}
    assert len(masks) <= 8
    assert {int(tile.sum()) for tile in inner} == {4}
    assert all(any((tile <= m).all() for m in masks.values()) for tile in tiles)
    for i, j in itertools.product(range(8), range(12)):
        part = weight[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        kept = norm_of(part, mask[4 * i : 4 * i + 4, 4 * j : 4 * j + 4])
        assert kept == pytest.approx(max(norm_of(part, m) for m in masks.values()))


@settings(deadline=None, max_examples=20)
@given(st.integers(4, 12), st.integers(3, 9), st.integers(1, 4), st.integers(1, 3), st.floats(0, 0.95))
def test_punched_removes_positions_of_whole_blocks(filters, channels, block_filters, block_channels, sparsity):
    weight = random_weight((filters, channels, 3, 3))
    mask = project(weight, Scheme("punched", (block_filters, block_channels)), sparsity)
    np.testing.assert_array_equal(Punched(block_filters, block_channels).kept(mask), mask)
    budget = round((1 - sparsity) * weight.size)
    assert budget - block_filters * block_channels < mask.sum() <= budget


def test_weights_of_equal_norm_are_taken_in_order():
    np.testing.assert_array_equal(project(np.ones((2, 3)), Scheme("unstructured"), 0.5), [[1, 1, 1], [0, 0, 0]])
    assert project(np.zeros((8, 8)), Scheme("bcr", (4, 4)), 0.5).sum() <= 32


@pytest.mark.parametrize(
    "scheme",
    [
        scheme
        for scheme in map(parse_scheme, SCHEMES)
        if scheme.rule.dimensions == (2,) and scheme.fixed_sparsity is None
    ],
    ids=str,
)
def test_sparsity_of_zero_keeps_all(scheme):
    assert project(random_weight((64, 64)), scheme, 0.0).all()


@pytest.mark.parametrize(
    "weight,scheme,sparsity,message",
    [
        (np.ones((4, 4)), Scheme("bcr", (8, 2)), 0.5, "the block of 'bcr 8x2' exceeds the weight, which is 4x4"),
        (np.ones((4, 4)), Scheme("block", (5,)), 0.5, "exceeds the weight"),
        (np.ones((4, 4, 3, 3)), Scheme("punched", (8, 2)), 0.5, "exceeds the weight, which is 4x4"),
        (np.ones((4, 4)), Scheme("punched", (2, 2)), 0.5, "filters, channels"),
        (np.ones((4, 4)), Scheme("unstructured"), 1.0, "at least 0 and less than 1, found 1"),
        (np.ones((4, 4)), Scheme("unstructured"), -0.1, "less than 1, found -0.1"),
        (np.ones((4, 4)), Scheme("unstructured"), float("nan"), "less than 1, found nan"),
        (np.ones((4, 4)), Scheme("unstructured"), None, "needs a sparsity"),
        (np.array([[np.nan, 1]]), Scheme("unstructured"), 0.5, "1 values that are NaN or infinite"),
        (np.ones((4, 4)), Scheme("nm", (2, 4)), 0.9, "gives a sparsity of 0.5, found 0.9"),
        (np.ones((4, 4)), Scheme("pattern", (2, 2)), 0.95, "up to 0.75, found 0.95"),
        (np.ones(4), Scheme("unstructured"), 0.5, "two or more dimensions"),
    ],
)
def test_what_cannot_be_pruned_is_a_sentence(weight, scheme, sparsity, message):
    with pytest.raises(PruneError, match=message):
        project(weight, scheme, sparsity)


@pytest.mark.parametrize(
    "name,block,sizes",
    [
        ("bcr", "4x16", (4, 16)),
        ("bcr", None, (4, 1)),
        ("block", "32", (32,)),
        ("pattern", "3", (3, 3)),
        ("pattern", "3x3", (3, 3)),
        ("nm", "1:4", (1, 4)),
        ("filter", None, ()),
    ],
)
def test_schemes_are_parsed(name, block, sizes):
    assert parse_scheme(name, block) == Scheme(name, sizes)


@pytest.mark.parametrize(
    "name,block,message",
    [
        ("bcx", None, "unknown scheme 'bcx': did you mean 'bcr'"),
        ("bcr", "4y16", "two positive sizes such as 4x1, found '4y16'"),
        ("bcr", "4", "two positive sizes"),
        ("bcr", "0x4", "two positive sizes"),
        ("bcr", "-4x4", "two positive sizes"),
        ("block", "4x4", "one positive size such as 64"),
        ("nm", "4:2", "n < m"),
        ("nm", "2x4", "2:4"),
        ("pattern", "2x3", "square"),
        ("filter", "4x4", "takes no block"),
    ],
)
def test_malformed_schemes_are_a_sentence(name, block, message):
    with pytest.raises(PruneError, match=message):
        parse_scheme(name, block)
