"""Rescaling by a float32: held against the published macro, in exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.errors import UnsupportedModel
from stepdown.numerics.float_scale import float_scales, rescale_by_float, scale_rounded

FINITE = st.floats(min_value=2.0**-40, max_value=2.0**20, width=32)


def nearest_float32(value: Fraction) -> Fraction:
    """Return the float32 number nearest to a positive number in the normal range, ties to even, in exact arithmetic."""
    if not value:
        return value
    exponent = math.floor(math.log2(value)) - 25
    while value / Fraction(2) ** exponent >= 1 << 24:
        exponent += 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


def macro(acc: int, scale: float, low: int, high: int) -> int:
    """ACC_SCALE of `gemmini_params.h` and the clip after it: int to float, product in float, ROUND_NEAR_EVEN."""
    product = nearest_float32(nearest_float32(Fraction(abs(acc))) * Fraction(scale))
    nearest = round(product) * (1 if acc >= 0 else -1)
    return max(low, min(high, nearest))


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), FINITE)
def test_it_is_the_published_macro(acc, scale):
    got = rescale_by_float(np.array([acc], np.int32), scale, 0, (-128, 127), np.int8)
    assert got.dtype == np.int8 and got.item() == macro(acc, scale, -128, 127)


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), FINITE)
def test_the_type_that_holds_the_sum_does_not_matter(acc, scale):
    kept = [scale_rounded(np.array([acc], kind), scale).item() for kind in (np.int32, np.int64, np.float64)]
    assert len(set(kept)) == 1


def test_ties_go_to_the_even_integer_on_both_sides_of_zero():
    acc = np.array([-5, -3, -1, 1, 3, 5], np.int32)
    np.testing.assert_array_equal(rescale_by_float(acc, 0.5, 0, (-128, 127), np.int8), [-2, -2, 0, 0, 2, 2])


def test_a_sum_beyond_24_bits_is_rounded_before_it_is_scaled():
    acc = np.array([(1 << 24) + 1, (1 << 24) + 3], np.int32)
    np.testing.assert_array_equal(scale_rounded(acc, 1.0), [1 << 24, (1 << 24) + 4])


def test_the_zero_point_is_added_as_an_integer_and_the_result_saturates():
    acc = np.array([-(2**31), -7, 0, 7, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(rescale_by_float(acc, 1.0, 100, (-128, 127), np.int8), [-128, 93, 100, 107, 127])
    np.testing.assert_array_equal(rescale_by_float(acc, 3e38, -128, (-128, 127), np.int8), [-128, -128, -128, 127, 127])
    np.testing.assert_array_equal(rescale_by_float(acc, 0.0, 3, (-128, 127), np.int8), [3] * 5)


def test_scales_differ_by_channel():
    acc = np.full((1, 3, 2), 10, np.int32)
    got = rescale_by_float(acc, np.array([0.1, 0.25, 2.0], np.float32).reshape(1, 3, 1), 0, (-128, 127), np.int8)
    np.testing.assert_array_equal(got[0, :, 0], [1, 2, 20])


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, 1e39])
def test_what_is_no_scale_is_refused(wrong):
    with pytest.raises(UnsupportedModel, match="no float32"):
        float_scales([1.0, wrong])
