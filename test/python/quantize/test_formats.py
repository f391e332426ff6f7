"""f16 and int8 by row, against PyTorch and by the rules of the formats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from secateur.dialects.number_formats import STORAGES, QuantizationError

ROWS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-60000, 60000, width=32),
)


@settings(deadline=None)
@given(ROWS)
def test_int8_is_the_nearest_of_255_numbers_per_row(rows):
    values, scales = STORAGES["int8"].store_rows(rows)
    read = STORAGES["int8"].read_rows(values, scales).astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= 127
    assert (values[rows == 0] == 0).all()
    # Half a step, and the rounding of the scale (of a subnormal one, an absolute amount).
    assert (np.abs(read - rows) <= largest / 127 * 0.501 + 1e-43).all()
    # The largest weight of a row fills the range.
    filled = np.abs(values.astype(int)).max(axis=1) == 127
    assert (filled | (largest[:, 0] < 1e-40)).all()


@settings(deadline=None)
@given(ROWS)
def test_f16_is_pytorchs(rows):
    values, scales = STORAGES["f16"].store_rows(rows)
    assert scales is None
    np.testing.assert_array_equal(
        STORAGES["f16"].read_rows(values, scales), torch.from_numpy(rows).half().float().numpy()
    )


@settings(deadline=None)
@given(ROWS, st.sampled_from(["f16", "int8"]))
def test_what_was_rounded_once_stays(rows, weights):
    read = STORAGES[weights].read_rows(*STORAGES[weights].store_rows(rows))
    np.testing.assert_allclose(
        STORAGES[weights].read_rows(*STORAGES[weights].store_rows(read)), read, rtol=3e-7, atol=1e-43
    )


@pytest.mark.parametrize(
    ("number", "weights", "message"),
    [
        (7e4, "f16", "at most 65504 to store them as f16, found 70000.0"),
        (np.inf, "f16", "at most 65504"),
        (np.nan, "f16", "found nan"),
        (np.inf, "int8", "finite weights to store them as int8, found inf"),
        (np.nan, "int8", "found nan"),
    ],
)
def test_numbers_that_the_format_does_not_hold(number, weights, message):
    with pytest.raises(QuantizationError, match=message):
        STORAGES[weights].store_rows(np.array([[1.0, number]], np.float32))


def test_subnormal_numbers_of_f16_are_kept():
    rows = np.array([[6e-8, -3e-6, 65504.0, 1e-9]], np.float32)
    read = STORAGES["f16"].read_rows(*STORAGES["f16"].store_rows(rows))
    np.testing.assert_array_equal(read, rows.astype(np.float16).astype(np.float32))
    assert read[0, 0] == 2.0**-24
