"""The comparison itself: what passes, what fails, and what the inputs are."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.compiler.errors import VerificationError
from secateur.compiler.verify.comparison import TOLERANCES, cases, check, compare


@dataclasses.dataclass(frozen=True)
class Spec:
    name: str
    shape: tuple
    dtype: str
    axes: tuple
    counts: str | None = None


SPECS = [
    Spec("input_ids", (2, 12), "int64", ("batch", "tokens")),
    Spec("attention_mask", (2, 12), "int64", ("batch", "tokens")),
    Spec("x", (2, 4), "float32", ("batch", None)),
]


def test_equal_arrays_pass_and_a_shape_is_part_of_equality():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert compare("c", "o", a, a).passed
    with pytest.raises(VerificationError, match=r"shape \[3, 2\], PyTorch gives \[2, 3\]"):
        compare("c", "o", a.T, a)


@given(scale=st.floats(1e-6, 1e6), factor=st.sampled_from([0.5, 2.0]))
def test_the_tolerance_is_relative(scale, factor):
    expected = np.full((4, 4), scale, np.float32)
    error = TOLERANCES["float32"].relative_l2 * factor
    found = expected.astype(np.float64) * (1 + error)
    assert compare("c", "o", found, expected).passed == (factor < 1)


def test_one_wrong_value_among_many_fails_by_the_scaled_maximum():
    expected = np.ones(10_000_000, np.float32)
    found = expected.copy()
    found[5] += 0.01
    difference = compare("c", "o", found, expected)
    assert difference.relative_l2 < 1e-5
    assert difference.scaled_max == pytest.approx(0.01, rel=1e-3)
    assert not difference.passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_fails_unless_both_sides_agree_on_infinity(value):
    plain = np.ones(4, np.float32)
    broken = plain.copy()
    broken[1] = value
    assert not compare("c", "o", broken, plain).passed
    assert not compare("c", "o", plain, broken).passed
    assert compare("c", "o", broken, broken).passed == math.isinf(value)


def test_integers_must_be_equal():
    a = np.array([1000, 2000])
    assert compare("c", "o", a, a).passed
    assert not compare("c", "o", a + np.array([0, 1]), a).passed


def test_a_failure_names_output_case_and_figures():
    a = np.ones(4, np.float32)
    with pytest.raises(VerificationError, match=r"'logits' \(padded\).*relative L2 1\.00e\+00.*and 1 more; here"):
        check([compare("padded", "logits", 2 * a, a), compare("random", "logits", a * 1.1, a)], "here")


def test_cases_cover_padding_and_shorter_sequences():
    made = cases(SPECS, {"x": np.zeros(1)}, type("Config", (), {"vocab_size": 7}))
    assert set(made) == {"random", "padded", "shorter", "masked"}
    assert made["random"]["attention_mask"].all()
    mask = made["padded"]["attention_mask"]
    assert mask.shape == (2, 12)
    assert mask[0, :8].all()
    assert not mask[0, 8:].any() and not mask[1].any()
    assert made["masked"]["input_ids"].shape == (2, 1) and not made["masked"]["attention_mask"].any()
    assert made["shorter"]["input_ids"].shape == (2, 7)
    assert made["shorter"]["x"].shape == (2, 4)
    assert made["random"]["input_ids"].max() < 7
    assert made["random"]["x"].std() > 0
