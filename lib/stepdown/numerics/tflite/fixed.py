"""Fixed-point numbers as TensorFlow Lite and gemmlowp compute with them: int32, held in int64 arrays.

Q_n is an int32 with n integer bits: its real value is raw / 2^(31 − n).
"""

import math
from collections.abc import Sequence

import numpy as np

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def round_away(x: np.ndarray) -> np.ndarray:
    """Return x rounded to nearest, ties away from zero (std::round), in the type of x."""
    whole = np.trunc(x)
    return np.asarray(whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0).astype(x.dtype))


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """Return (multiplier, shift) with multiplier in [2^30, 2^31) and scale ≈ multiplier / 2^31 × 2^shift.

    Source: QuantizeMultiplier; a scale below 2^−32 has multiplier 0.
    """
    if scale == 0:
        return 0, 0
    mantissa, shift = math.frexp(scale)
    multiplier = math.floor(mantissa * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def multipliers_right_shifts(scales: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int32 multipliers[C] and int8 right shifts[C], 31 − shift, of the scales[C]: as `rescale` has them."""
    pairs = [quantize_multiplier(float(scale)) for scale in np.ravel(scales)]
    return np.array([m for m, _ in pairs], np.int32), np.array([31 - s for _, s in pairs], np.int8)


def wrap(x: np.ndarray) -> np.ndarray:
    """Return x modulo 2^32 as an int32 value, as the sums of the kernels wrap."""
    return x.astype(np.int64).astype(np.int32).astype(np.int64)


def doubling_high_mul(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
    """Return a·b / 2^31 rounded half up, saturated (SaturatingRoundingDoublingHighMul)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32_MAX)


def divide_by_pot(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """Return x / 2^exponent rounded half away from zero (RoundingDivideByPOT)."""
    x = np.asarray(x, np.int64)
    half = (np.int64(1) << np.asarray(exponent, np.int64)) >> 1
    return np.where(half > 0, (x + half - ((x < 0) & (half > 0))) >> exponent, x)


def multiply(x: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return x × multiplier / 2^31 × 2^shift with two roundings (MultiplyByQuantizedMultiplier)."""
    shift = np.asarray(shift, np.int64)
    lifted = wrap(np.asarray(x, np.int64) << np.maximum(shift, 0))
    return divide_by_pot(doubling_high_mul(lifted, multiplier), np.maximum(-shift, 0))


def multiply_by_pot(x: np.ndarray, exponent: int) -> np.ndarray:
    """Return x × 2^exponent, saturated or rounded half away from zero (SaturatingRoundingMultiplyByPOT)."""
    if exponent < 0:
        return divide_by_pot(x, -exponent)
    return np.clip(np.asarray(x, np.int64) << exponent, INT32_MIN, INT32_MAX)


def half_sum(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """Return (a + b) / 2 rounded half away from zero (RoundingHalfSum)."""
    total = np.asarray(a, np.int64) + b
    return (np.abs(total) + 1 >> 1) * np.sign(total)


_EXP_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(−2^i) for i = −2, −1, …, 4 as Q_0."""


def exp_on_negative_values(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """Return e^a as Q_0 for a ≤ 0 as Q_integer_bits; e^0 is the largest Q_0."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(multiply_by_pot(rest, integer_bits))
    remainder = rest - a
    for exponent, factor in enumerate(_EXP_FACTORS[: integer_bits + 2], -2):
        taken = remainder & (1 << (fraction_bits + exponent)) != 0
        result = np.where(taken, doubling_high_mul(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (36 - integer_bits)), 0, result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_near_zero(a: np.ndarray) -> np.ndarray:
    """Return e^a as Q_0 for a in [−1/4, 0) as Q_0: a Taylor polynomial around −1/8."""
    constant = 1895147668  # exp(−1/8)
    x = a + (1 << 28)
    square = doubling_high_mul(x, x)
    cube, fourth = doubling_high_mul(square, x), doubling_high_mul(square, square)
    third = doubling_high_mul(divide_by_pot(fourth, 2) + cube, 715827883)
    return constant + doubling_high_mul(x + divide_by_pot(third + square, 1), constant)


def one_over_one_plus(a: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + a) as Q_0 for a in [0, 1] as Q_0, by three Newton steps (one_over_one_plus_x_for_x_in_0_1)."""
    return multiply_by_pot(_two_over_one_plus(a), 1)


def one_minus_over_one_plus(a: np.ndarray) -> np.ndarray:
    """Return (1 − a) / (1 + a) as Q_0 for a in [0, 1] as Q_0 (one_minus_x_over_one_plus_x_for_x_in_0_1)."""
    return multiply_by_pot(_two_over_one_plus(a) - (1 << 29), 2)


def _two_over_one_plus(a: np.ndarray) -> np.ndarray:
    """Return 2 / (1 + a) as Q_2."""
    half_denominator = half_sum(a, INT32_MAX)
    x = 1515870810 + doubling_high_mul(half_denominator, -1010580540)  # 48/17 − 32/17·d as Q_2
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half_denominator, x)
        x = x + multiply_by_pot(doubling_high_mul(x, error), 2)
    return x


def logistic(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """Return 1 / (1 + e^−a) as Q_0 for a as Q_integer_bits."""
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(a), integer_bits))
    y = np.where(a > 0, positive, INT32_MAX - positive)
    return np.where(a == 0, 1 << 30, y)


def tanh(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """Return tanh a as Q_0 for a as Q_integer_bits."""
    y = one_minus_over_one_plus(exp_on_negative_values(-np.abs(a), integer_bits + 1))
    return np.where(a == 0, 0, np.where(a < 0, -y, y))


def leading_zeros(x: np.ndarray) -> np.ndarray:
    """Return the number of leading zero bits of x > 0 as uint32."""
    return 32 - np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Return the largest input whose value lifted by `left_shift` is below 2^integer_bits (CalculateInputRadius)."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**left_shift)


def inverse_sqrt(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (multiplier, shift) with 1 / √x ≈ multiplier / 2^31 × 2^shift (GetInvSqrtQuantizedMultiplierExp)."""
    x = np.asarray(x, np.int64)
    value, shift = x.copy(), np.full(x.shape, 11, np.int64)
    while (large := value >= 1 << 29).any():
        value, shift = np.where(large, value // 4, value), shift + large
    pairs = (leading_zeros(np.maximum(value, 1)) - 1) // 2 - 1
    shift, value = shift - pairs, value << (2 * pairs)
    half_input = divide_by_pot(value >> 1, 1)
    root = np.full(x.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = multiply_by_pot(doubling_high_mul(doubling_high_mul(root, root), root), 6)
        product = doubling_high_mul((1 << 28) + (1 << 27), root) - doubling_high_mul(half_input, cube)
        root = multiply_by_pot(product, 3)
    root = doubling_high_mul(root, 1518500250)  # √2 / 2
    root, shift = np.where(shift < 0, root << np.maximum(-shift, 0), root), np.maximum(shift, 0)
    return np.where(x <= 1, INT32_MAX, root), np.where(x <= 1, 0, -shift)
