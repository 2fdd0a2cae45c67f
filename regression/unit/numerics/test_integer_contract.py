"""The integer contract: every formula against Python's own unbounded integers and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.errors import UnsupportedModel
from stepdown.numerics.accumulate import exact_dtype
from stepdown.numerics.quantize import (
    QuantParams,
    asymmetric,
    dequantize,
    quantize,
    quantize_weight,
    symmetric,
    weight_scales,
)
from stepdown.numerics.rescale import apply_scale, multiplier_shift, multipliers_shifts, rescale

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(st.floats(2.0**-32, 2.0**28, allow_nan=False))
def test_the_multiplier_is_the_nearest(scale):
    multiplier, shift = multiplier_shift(scale)
    assert 2**30 <= multiplier < 2**31 and 2 <= shift <= 62
    assert abs(Fraction(multiplier, 2**shift) - Fraction(scale)) <= Fraction(1, 2 ** (shift + 1))


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [(0.5, (1 << 30, 31)), (1.0, (1 << 30, 30)), (1 - 2.0**-40, (1 << 30, 30)), (2.0**-33, (0, 62)), (0.0, (0, 62))],
)
def test_multipliers_at_the_edges(scale, wanted):
    assert multiplier_shift(scale) == wanted


@pytest.mark.parametrize("scale", [2.0**29, float("inf"), float("nan"), -1.0])
def test_scales_that_no_shift_can_hold_are_refused(scale):
    with pytest.raises(UnsupportedModel, match="outside"):
        multiplier_shift(scale)


@given(INT32, st.integers(2**30, 2**31 - 1), st.integers(2, 62))
def test_apply_scale_rounds_half_up_once(acc, multiplier, shift):
    wanted = (acc * multiplier + (1 << (shift - 1))) >> shift
    assert int(apply_scale(np.array([acc]), multiplier, shift)[0]) == wanted


@pytest.mark.parametrize("shape", [(3, 5), (1, 96, 40, 40), (7,), (2, 3, 1, 1)])
def test_rescale_by_channel_blocks_equals_the_formula(shape):
    rng = np.random.default_rng(0)
    acc = rng.integers(-(2**20), 2**20, shape)
    axis = 1 if len(shape) > 1 else 0
    multipliers, shifts = multipliers_shifts(rng.uniform(1e-4, 1e-2, shape[axis]))
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    got = rescale(acc.astype(np.float32), multipliers.reshape(along), shifts.reshape(along), 3, (0, 200), np.uint8)
    scaled = (acc * multipliers.reshape(along).astype(object) + (1 << (shifts.astype(object) - 1)).reshape(along)) >> (
        shifts.astype(object).reshape(along)
    )
    np.testing.assert_array_equal(got, np.clip(scaled + 3, 0, 200).astype(np.uint8))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_asymmetric_parameters_hold_zero_exactly(a, b):
    params = asymmetric(min(a, b), max(a, b))
    assert -128 <= params.zero_point <= 127
    assert params.scale == float(np.float32(params.scale))
    assert dequantize(quantize(np.zeros(1, np.float32), params), params)[0] == 0


def test_symmetric_parameters_use_the_free_bit():
    assert symmetric(25.5, 0.0) == QuantParams(float(np.float32(0.1)), 0, "u8")
    assert symmetric(12.7, -3.0) == QuantParams(float(np.float32(12.7 / 127)), 0, "i8")
    assert symmetric(0.0, 0.0).scale == 1.0


def test_quantize_rounds_half_to_even_and_saturates():
    params = QuantParams(1.0, 0, "i8")
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1000, -1000, np.nan, np.inf, -np.inf], np.float32)
    assert quantize(values, params).tolist() == [0, 2, 2, 0, -2, 127, -128, 0, 127, -128]


def test_weights_are_quantised_by_channel():
    weight = np.array([[1.0, -2.0], [0.0, 0.0], [0.1, 0.05]], np.float32)
    scales = weight_scales(weight)
    assert scales[1] == 1.0
    assert quantize_weight(weight, scales).tolist() == [[64, -127], [0, 0], [127, 64]]


def test_the_exact_type_is_proved_from_the_weights():
    small, large = np.full((1, 100), 127, np.int8), np.full((1, 1000), 127, np.int8)
    assert exact_dtype(small, 255) is np.float32
    assert exact_dtype(large, 255) is np.float64
