"""Softmax and its logarithm in fixed point. Source: reference_ops::Softmax, reference_integer_ops::LogSoftmax."""

import math

import numpy as np

from stepdown.numerics.tflite.fixed import (
    INT32_MAX,
    INT32_MIN,
    divide_by_pot,
    doubling_high_mul,
    exp_on_negative_values,
    half_sum,
    input_radius,
    leading_zeros,
    multiply,
    multiply_by_pot,
    one_over_one_plus,
    quantize_multiplier,
)

_INPUT_BITS, _SUM_BITS, _OUTPUT_BITS = 5, 12, 4


def softmax_multiplier(input_scale: float, beta: float = 1.0) -> tuple[int, int]:
    """Return (multiplier, left shift) that bring a difference of stored inputs to Q_5 (PreprocessSoftmaxScaling)."""
    return quantize_multiplier(min(beta * input_scale * (1 << (31 - _INPUT_BITS)), 2.0**31 - 1))


def softmax(q: np.ndarray, multiplier: int, shift: int, low: int, axis: int) -> np.ndarray:
    """Return softmax of stored integers along `axis`, on scale 1/256 from `low`; int64 within 8 bits.

    e^(x − max) as Q_0 for every x near enough to the largest, their sum as Q_12, its reciprocal by Newton steps.
    """
    near, exponent = _difference(q, multiplier, shift, axis)
    power = np.where(near, exp_on_negative_values(exponent, _INPUT_BITS), 0)
    total = divide_by_pot(power, _SUM_BITS).sum(axis, keepdims=True)
    zeros = leading_zeros(total)
    reciprocal = one_over_one_plus((total << zeros) - (1 << 31))
    y = divide_by_pot(doubling_high_mul(reciprocal, power), _SUM_BITS - zeros + 31 - 8) + low
    return np.where(near, np.clip(y, low, low + 255), low)


def log_softmax(q: np.ndarray, multiplier: int, shift: int, low: int, axis: int) -> np.ndarray:
    """Return the logarithm of softmax along `axis`, on scale 1/16 with the largest stored value for 0."""
    near, exponent = _difference(q, multiplier, shift, axis)
    power = np.where(near, divide_by_pot(exp_on_negative_values(exponent, _INPUT_BITS), _SUM_BITS), 0)
    log_sum = logarithm(power.sum(axis, keepdims=True))
    reverse = quantize_multiplier(2.0**31 / math.ldexp(multiplier, shift))
    least = np.maximum(-input_radius(_INPUT_BITS, shift) - 1, multiply(log_sum + INT32_MIN, *reverse))
    difference = q.astype(np.int64) - q.max(axis, keepdims=True)
    kept = difference > least
    exponent = multiply(np.where(kept, difference, 0), multiplier, shift)
    y = divide_by_pot(exponent - log_sum, 31 - _INPUT_BITS - _OUTPUT_BITS) + low + 255
    return np.where(kept, np.clip(y, low, low + 255), low)


def _difference(q: np.ndarray, multiplier: int, shift: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which inputs count, and x − max of those as Q_5 (0 for the others)."""
    difference = q.astype(np.int64) - q.max(axis, keepdims=True)
    near = difference >= -input_radius(_INPUT_BITS, shift)
    return near, multiply(np.where(near, difference, 0), multiplier, shift)


def logarithm(x: np.ndarray) -> np.ndarray:
    """Return ln x as Q_5 for x ≥ 1 as Q_12.

    x = r · 2^n with r near √√½, and ln r by a rational function: log_x_for_x_greater_than_or_equal_to_1_impl.
    """
    root_half, fourth_root_half = 1518500250, 1805811301  # √½, √√½ as Q_0
    bits = _INPUT_BITS + 1  # one bit of headroom
    quarter = divide_by_pot(np.asarray(1 << 29), bits)
    zeros_a = leading_zeros(x)
    r_a = _saturate(doubling_high_mul(x << (zeros_a - 1), root_half) << 1)
    power_a = _saturate(_power(zeros_a, bits) + quarter)
    zeros_b = leading_zeros(doubling_high_mul(x, root_half)) - 1
    r_b = _saturate(x << zeros_b)
    power_b = _saturate(_power(zeros_b, bits) - quarter)
    ratio = _logarithm_near_one(np.minimum(r_a, r_b), fourth_root_half, bits)
    return multiply_by_pot(doubling_high_mul(np.maximum(power_a, power_b), 1488522236) + ratio, 1)


def _logarithm_near_one(r: np.ndarray, centre: int, bits: int) -> np.ndarray:
    """Return ln(r / centre) as Q_bits for r as Q_0."""
    alpha_n, alpha_d, alpha_i, alpha_f = 117049297, 127690142, 1057819769, 638450708
    p, q = half_sum(r, centre), 2 * (r - centre)
    square = doubling_high_mul(q, q)
    numerator = doubling_high_mul(q, r) + doubling_high_mul(doubling_high_mul(q, square), alpha_n)
    rest = doubling_high_mul(p, alpha_i + q + doubling_high_mul(alpha_d, square)) + doubling_high_mul(alpha_f, q)
    return doubling_high_mul(divide_by_pot(numerator, bits), one_over_one_plus(rest))


def _power(zeros: np.ndarray, bits: int) -> np.ndarray:
    return _saturate((_SUM_BITS - zeros) << (31 - bits))


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.clip(x, INT32_MIN, INT32_MAX)
