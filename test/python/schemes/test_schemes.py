"""What each description keeps and costs, counted one weight at a time from its definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from secateur.dialects.schemes import (
    NM,
    Bcr,
    Block,
    Dense,
    IllegalEncodingError,
    Pattern,
    Punched,
    Unstructured,
    encoding_of,
    nonzeros,
)

matrices = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: arrays(bool, shape))
sizes = st.integers(1, 6)


def blocks(shape: tuple[int, ...], rows: int, columns: int):
    for row, column in itertools.product(range(0, shape[0], rows), range(0, shape[1], columns)):
        yield slice(row, row + rows), slice(column, column + columns)


@given(matrices, st.integers(1, 10), sizes)
def test_bcr_keeps_kept_rows_times_kept_columns(mask, rows, columns):
    expected = np.zeros_like(mask)
    indices, nonempty = 0, 0
    for block in blocks(mask.shape, rows, columns):
        part = mask[block]
        kept_rows = part.any(axis=1) if columns > 1 else np.full(len(part), part.any())
        expected[block] = np.outer(kept_rows, part.any(axis=0))
        indices += part.any(axis=0).sum()
        nonempty += part.any()
    encoding = Bcr(rows, columns)
    np.testing.assert_array_equal(encoding.kept(mask), expected)
    row_masks = 0 if columns == 1 else nonempty * -(-rows // 8)
    bands = -(-mask.shape[0] // rows)
    assert encoding.packed_bytes(mask) == 4 * expected.sum() + 4 * indices + row_masks + 4 * (bands + 1)


@given(matrices, sizes)
def test_block_keeps_row_segments(mask, columns):
    expected = np.zeros_like(mask)
    segments = list(blocks(mask.shape, 1, columns))
    for segment in segments:
        expected[segment] = mask[segment].any()
    np.testing.assert_array_equal(Block(columns).kept(mask), expected)
    assert Block(columns).packed_bytes(mask) == 4 * expected.sum() + -(-len(segments) // 8)


@given(matrices, st.sampled_from([(1, 2), (1, 4), (2, 4), (2, 8), (3, 5)]))
def test_nm_keeps_n_of_each_group_or_says_which_has_more(mask, of):
    n, m = of
    groups = list(blocks(mask.shape, 1, m))
    crowded = [group for group in groups if mask[group].sum() > n]
    encoding = NM(n, m)
    assert encoding.is_legal(mask) == (not crowded)
    if crowded:
        with pytest.raises(IllegalEncodingError, match=f"row {crowded[0][0].start} has"):
            encoding.kept(mask)
        return
    kept = encoding.kept(mask)
    assert (kept >= mask).all()
    assert all(kept[group].sum() == min(n, kept[group].size) for group in groups)
    bits = {2: 1, 4: 2, 5: 3, 8: 3}[m]
    assert encoding.packed_bytes(mask) == 4 * kept.sum() + -(-kept.sum() * bits // 8)


@given(matrices, st.integers(1, 3), st.data())
def test_pattern_takes_the_smallest_pattern_that_covers_a_tile(mask, size, data):
    patterns = tuple(data.draw(st.lists(st.integers(0, 2 ** (size * size) - 1), min_size=1, max_size=6)))
    tiles = [np.array([p >> i & 1 for i in range(size * size)], bool).reshape(size, size) for p in patterns]
    expected, legal = np.zeros_like(mask), True
    for tile in blocks(mask.shape, size, size):
        part = mask[tile]
        height, width = part.shape
        covering = [
            t for t in tiles if (t[:height, :width] >= part).all()
        ]  # bits beyond the edge are free, so the whole tile decides which is smallest
        legal &= bool(covering)
        if covering:
            smallest = min(covering, key=np.count_nonzero)
            expected[tile] = smallest[:height, :width]
    encoding = Pattern(size, patterns)
    assert encoding.is_legal(mask) == legal
    if legal:
        np.testing.assert_array_equal(encoding.kept(mask), expected)
        tile_count = len(list(blocks(mask.shape, size, size)))
        table = len(patterns) * -(-size * size // 8)
        assert encoding.packed_bytes(mask) == 4 * expected.sum() + tile_count + table
    else:
        with pytest.raises(IllegalEncodingError, match="no pattern covers"):
            encoding.packed_bytes(mask)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda shape: arrays(bool, shape)
    ),
    sizes,
    sizes,
)
def test_punched_keeps_a_position_for_a_whole_block(mask, filters, channels):
    expected = np.zeros_like(mask)
    count = 0
    for block in blocks(mask.shape, filters, channels):
        expected[block] = mask[block].any(axis=(0, 1))
        count += 1
    encoding = Punched(filters, channels)
    np.testing.assert_array_equal(encoding.kept(mask), expected)
    mask_bytes = -(-mask.shape[2] * mask.shape[3] // 8)
    assert encoding.packed_bytes(mask) == 4 * expected.sum() + count * mask_bytes


@given(matrices)
def test_dense_and_unstructured(mask):
    assert Dense().kept(mask).all()
    assert Dense().packed_bytes(mask) == 4 * mask.size
    np.testing.assert_array_equal(Unstructured().kept(mask), mask)
    assert Unstructured().packed_bytes(mask) == 8 * mask.sum() + 4 * (mask.shape[0] + 1)


def test_a_tile_takes_the_pattern_with_the_fewest_bits_not_the_first():
    mask = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(Pattern(2, (0b0111, 0b1001)).kept(mask), [[True, False], [False, True]])
    np.testing.assert_array_equal(Pattern(2, (0b1001, 0b0011)).kept(mask), [[True, False], [False, True]])


def test_a_matrix_cannot_be_punched():
    with pytest.raises(IllegalEncodingError, match="filters, channels"):
        Punched(2, 2).kept(np.ones((4, 4), bool))


def test_nan_is_no_zero_and_minus_zero_is():
    np.testing.assert_array_equal(nonzeros(np.array([np.nan, -0.0, 0.0, np.inf, 1e-45])), [1, 0, 0, 1, 1])


@pytest.mark.parametrize(
    "encoding", [Dense(), Bcr(4, 16), Block(8), Pattern(2, (3, 5)), Punched(4, 2), NM(2, 4), Unstructured()]
)
def test_fields_build_the_same_description(encoding):
    assert encoding_of(encoding.scheme, encoding.parameters()) == encoding


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="unknown scheme 'bcx'"):
        encoding_of("bcx", {})
    with pytest.raises(ValueError, match="block_columns"):
        encoding_of("bcr", {"block_rows": 4})
    with pytest.raises(ValueError, match="to be positive, found 0"):
        Bcr(0, 4)
