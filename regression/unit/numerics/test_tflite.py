"""TensorFlow Lite's fixed point: against gemmlowp's own words in unbounded integers, and against real numbers."""

import math

import numpy as np
import pytest

from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import apply_scale_twice
from stepdown.numerics.tflite import fixed
from stepdown.numerics.tflite.pool import mean_away, mean_multiplier
from stepdown.numerics.tflite.softmax import logarithm
from stepdown.numerics.tflite.tables import activation_bounds, quantize_away
from stepdown.numerics.tflite.vectors import divide, linear_weights

INT32 = 1 << 31


def by_gemmlowp(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier as its C++ text has it, division cut off towards 0."""
    lifted = (x * (1 << max(shift, 0)) + INT32) % (2 * INT32) - INT32
    product = lifted * multiplier
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    high = int(math.copysign(1, product + nudge)) * (abs(product + nudge) // INT32)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    remainder, threshold = high & mask, (mask >> 1) + (high < 0)
    return (high >> exponent) + (remainder > threshold)


@pytest.mark.parametrize("shift", [-31, -30, -7, -1, 0, 1, 5, 20])
def test_two_roundings(shift: int) -> None:
    rng = np.random.default_rng(shift & 31)
    x = np.concatenate([rng.integers(-INT32, INT32, 200), rng.integers(-300, 300, 200), [0, -1, 1, INT32 - 1, -INT32]])
    multipliers = np.where(rng.random(x.size) < 0.3, 1 << 30, rng.integers(1 << 30, INT32, x.size))
    expected = [by_gemmlowp(int(a), int(m), shift) for a, m in zip(x, multipliers, strict=True)]
    assert apply_scale_twice(x, multipliers, 31 - shift).tolist() == expected
    assert fixed.multiply(x, multipliers, shift).tolist() == expected


@pytest.mark.parametrize("scale", [0.0, 1.0, 0.5, 2.0**-32, 2.0**-33, 0.1, 3.7e-6, 123.4, 1 - 2.0**-40])
def test_multiplier_is_nearest(scale: float) -> None:
    multiplier, shift = fixed.quantize_multiplier(scale)
    assert multiplier == 0 or 1 << 30 <= multiplier < INT32
    assert math.ldexp(multiplier, shift - 31) == pytest.approx(scale if scale >= 2.0**-32 else 0.0, rel=2.0**-31)


def test_halves_go_away_from_zero() -> None:
    x = np.array([0.5, -0.5, 1.5, -2.5, 0.49999999999999994, -0.2])
    assert fixed.round_away(x).tolist() == [1, -1, 2, -3, 0, 0]
    assert quantize_away(np.float32([0.25, -0.25, 1e30, np.nan]), QuantParams(0.5, 3)).tolist() == [4, 2, 127, 3]
    assert mean_away(np.array([3, -3, 7, -8, 0]), np.array([2, 2, 3, 3, 5])).tolist() == [2, -2, 2, -3, 0]
    assert fixed.half_sum(np.array([1, -1, 4]), 2).tolist() == [2, 1, 3]


def test_elementary_functions() -> None:
    a = -np.random.default_rng(0).integers(0, INT32, 2000)
    assert fixed.exp_on_negative_values(a, 5) / INT32 == pytest.approx(np.exp(a / 2.0**26), abs=1e-6)
    x = np.abs(a)
    assert fixed.one_over_one_plus(x) / INT32 == pytest.approx(1 / (1 + x / INT32), abs=1e-6)
    assert fixed.logistic(a, 4) / INT32 == pytest.approx(1 / (1 + np.exp(-a / 2.0**27)), abs=1e-6)
    assert fixed.tanh(a, 4) / INT32 == pytest.approx(np.tanh(a / 2.0**27), abs=1e-6)
    above_one = 2**19 + x % (2**31 - 2**19)
    assert logarithm(above_one) / 2.0**26 == pytest.approx(np.log(above_one / 2.0**19), abs=1e-6)
    multiplier, shift = fixed.inverse_sqrt(x[x > 1])
    assert multiplier * 2.0 ** (shift - 31.0) == pytest.approx(x[x > 1] ** -0.5, rel=5e-6)


def test_divisions() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(-255, 256, 2000), rng.choice([*range(-255, 0), *range(1, 256)], 2000)
    multiplier, shift = fixed.quantize_multiplier(40.0)
    assert np.abs(divide(a, b, multiplier, shift) - 40 * a / b).max() <= 0.51
    multiplier, shift = mean_multiplier(0.7, 49)
    assert math.ldexp(multiplier, shift - 31) == pytest.approx(0.7 / 49, rel=1e-8)


def test_bounds_of_an_activation() -> None:
    assert activation_bounds(QuantParams(0.05, -10), 0.0, 6.0) == (-10, 110)
    assert activation_bounds(QuantParams(0.05, -10), -1.0, 1.0) == (-30, 10)
    assert activation_bounds(QuantParams(4.0, 5, "u8"), 0.0, 6.0) == (5, 7)  # 1.5 goes away from zero
    assert activation_bounds(QuantParams(0.01, -128), 0.0, None) == (-128, 127)


def test_weights_of_an_interpolation_add_up() -> None:
    for old, new in ((1, 5), (4, 9), (7, 3), (5, 5)):
        for align, half in ((False, False), (True, False), (False, True)):
            assert (linear_weights(old, new, align, half).sum(axis=1) == 1 << 10).all()
