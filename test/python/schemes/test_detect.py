"""The cheapest description: costs are those of the definitions, and pruned masks are found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from secateur.dialects.schemes import NM, Bcr, Block, Dense, Pattern, Punched, Unstructured, detect
from secateur.dialects.schemes.detect import candidates


@st.composite
def structured_masks(draw):
    """Masks whose rows and columns are gone in blocks, so that all candidates get their turn."""
    rows, columns = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    seed, row_density, column_density = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, 1)), draw(st.floats(0, 1))
    return bcr_mask((rows, columns), (height, width), row_density, column_density, seed)


def bcr_mask(shape, block, row_density, column_density, seed=0):
    generator = np.random.default_rng(seed)
    (rows, columns), (height, width) = shape, block
    by_row = np.repeat(generator.random((rows, -(-columns // width))) < row_density, width, axis=1)[:, :columns]
    by_column = np.repeat(generator.random((-(-rows // height), columns)) < column_density, height, axis=0)[:rows]
    return by_row & by_column


any_mask = st.one_of(
    structured_masks(),
    st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(lambda shape: arrays(bool, shape)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)).flatmap(lambda shape: arrays(bool, shape)),
)


@settings(deadline=None)
@given(any_mask)
def test_each_candidate_costs_what_its_definition_says_and_keeps_each_weight(mask):
    for size, encoding in candidates(mask):
        assert size == encoding.packed_bytes(mask), str(encoding)
        assert (encoding.kept(mask) >= mask).all(), str(encoding)


@settings(deadline=None)
@given(any_mask)
def test_no_candidate_is_cheaper_than_the_one_detected(mask):
    found = detect(mask.astype(np.float32))
    assert found.packed_bytes(mask) == min(size for size, _ in candidates(mask))
    assert detect(mask) == found


@pytest.mark.parametrize("shape", [(256, 128), (250, 131)])
@pytest.mark.parametrize("block", [(4, 16), (8, 16), (16, 32), (4, 8), (16, 1), (4, 1), (8, 1), (48, 1), (12, 1)])
def test_bcr_of_ten_percent_is_found(shape, block):
    density = 0.1 if block[1] == 1 else 0.1**0.5
    mask = bcr_mask(shape, block, 1.0 if block[1] == 1 else density, density)
    assert detect(mask) == Bcr(*block)


def test_whole_columns_are_bcr_with_all_rows():
    mask = np.zeros((96, 64), bool)
    mask[:, ::5] = True
    assert detect(mask) == Bcr(96, 1)


def test_row_segments_are_block():
    assert detect(bcr_mask((128, 256), (1, 64), 0.2, 1.0)) == Block(64)


def test_whole_rows_are_block_with_all_columns():
    mask = np.zeros((128, 200), bool)
    mask[::3] = True
    assert detect(mask) == Block(200)


@pytest.mark.parametrize("n,m", [(1, 2), (1, 4), (2, 4), (2, 8), (4, 8)])
def test_nm_is_found(n, m):
    order = np.random.default_rng(0).random((64, 32, m)).argsort(axis=2)
    assert detect((order < n).reshape(64, 32 * m)) == NM(n, m)


@pytest.mark.parametrize("size,count", [(3, 4), (4, 8)])
def test_patterns_are_found_with_their_masks(size, count):
    generator = np.random.default_rng(0)
    flat = generator.random((7, size * size)).argsort(axis=1) < count
    tiles = flat[generator.integers(0, 7, (20, 30))].reshape(20, 30, size, size)
    mask = tiles.transpose(0, 2, 1, 3).reshape(20 * size, 30 * size)
    mask[:size, :size] = False  # a tile that keeps nothing is covered by any mask
    codes = sorted({int(sum(1 << i for i in np.flatnonzero(row))) for row in flat})
    assert detect(mask) == Pattern(size, tuple(codes))


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.45])
def test_zeros_at_random_are_unstructured(density):
    assert detect(np.random.default_rng(1).random((384, 256)) < density) == Unstructured()


@pytest.mark.parametrize("density", [0.5, 0.7, 0.99, 1.0])
def test_few_zeros_at_random_are_dense(density):
    assert detect(np.random.default_rng(1).random((384, 256)) < density) == Dense()


def test_kernel_positions_of_a_convolution_are_punched():
    positions = np.random.default_rng(2).random((8, 8, 3, 3)) < 0.4
    mask = positions.repeat(8, axis=0).repeat(4, axis=1)
    assert detect(mask) == Punched(8, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 7), (64, 64), (4, 4, 3, 3)])
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_constant_weights_of_any_shape(shape, value):
    weight = np.full(shape, value, np.float32)
    found = detect(weight)
    if value != 0:
        assert found == Dense()
    assert found.packed_bytes(weight != 0) <= 4 * weight.size


def test_one_weight_among_zeros_is_kept():
    weight = np.zeros((65, 33), np.float32)
    weight[64, 32] = np.nan
    assert detect(weight).kept(weight != 0)[64, 32]


@pytest.mark.parametrize(
    "mask,winner,loser",
    [
        (np.arange(12)[None, :] < 5, Dense(), Unstructured()),
        (np.zeros((64, 64), bool), Block(64), Bcr(64, 64)),
        (np.zeros((200, 64), bool), Bcr(200, 64), Bcr(200, 8)),
    ],
)
def test_ties_go_to_the_simplest_and_coarsest(mask, winner, loser):
    costs = {encoding: size for size, encoding in candidates(mask)}
    assert costs[winner] == costs[loser]
    assert detect(mask) == winner


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="two or more dimensions"):
        detect(np.zeros(4))
