"""Divisions, norms and interpolation in integers."""

import itertools

import numpy as np

from stepdown.numerics.tflite.fixed import (
    doubling_high_mul,
    inverse_sqrt,
    leading_zeros,
    multiply,
    one_over_one_plus,
)

_NORM_SHIFT = 7
_COORDINATE = 10
"""Bits of the fraction of a coordinate."""


def divide(a: np.ndarray, b: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """Return a / b × multiplier / 2^31 × 2^shift for integers, b not 0, by the reciprocal of b in 31 bits.

    The kernel shifts by more than 31 bits where the quotient is near 0, which C++ leaves undefined; here it is 0.
    Source: reference_ops::DivElementwise.
    """
    a, b = np.where(b < 0, -a, a), np.abs(b)
    zeros = leading_zeros(np.maximum(b, 1))
    reciprocal = one_over_one_plus((b << zeros) - (1 << 31))
    room = np.where(a == 0, 31, leading_zeros(np.maximum(np.where(a < 0, 2 * np.abs(a) - 1, 2 * a), 1)))
    quotient = doubling_high_mul(a << room, reciprocal)
    exponent = np.clip(room + (31 - zeros) - shift, 0, 62)
    scaled = doubling_high_mul(quotient, multiplier)
    half = (np.int64(1) << exponent) >> 1
    return np.where(exponent > 0, (scaled + half - ((scaled < 0) & (exponent > 0))) >> exponent, scaled)


def l2_normalized(x: np.ndarray, axis: int, unsigned: bool) -> np.ndarray:
    """Return x / √Σx² along `axis` on scale 1/128, for x without its zero point; u8 is lifted before it is scaled.

    Source: reference_integer_ops::L2Normalization, reference_ops::L2Normalization.
    """
    squares = np.square(x.astype(np.int64)).sum(axis, keepdims=True)
    multiplier, shift = inverse_sqrt(squares)
    return multiply(x << _NORM_SHIFT, multiplier, shift) if unsigned else multiply(x, multiplier, shift + _NORM_SHIFT)


def linear_weights(old: int, new: int, align_corners: bool, half_pixel: bool) -> np.ndarray:
    """Return the matrix [new, old] that interpolates along one axis, in units of 2^−10.

    Source: reference_ops::ResizeBilinearInteger.
    """
    spans = (old - 1, new - 1) if align_corners and new > 1 else (old, new)
    scale = ((spans[0] << _COORDINATE) + spans[1] // 2) // spans[1]
    at = np.arange(new) * scale + (scale // 2 - (1 << (_COORDINATE - 1)) if half_pixel else 0)
    one = 1 << _COORDINATE
    lower = np.minimum(np.maximum(np.trunc(at / one), 0).astype(np.int64), old - 1)
    upper = np.minimum(np.trunc((at + one - 1) / one).astype(np.int64), old - 1)
    weights = np.zeros((new, old))
    rows = np.arange(new)
    np.add.at(weights, (rows, lower), one - (at - one * lower))
    np.add.at(weights, (rows, np.maximum(upper, 0)), at - one * lower)
    return weights


def interpolated(q: np.ndarray, weights: dict[int, np.ndarray]) -> np.ndarray:
    """Return q interpolated along each axis of `weights`, rounded once, half away from zero."""
    total = q.astype(np.float64)
    for axis, matrix in weights.items():
        total = np.moveaxis(np.tensordot(matrix, total, (1, axis)), 0, axis)
    bits = _COORDINATE * len(weights)
    total = total.astype(np.int64)
    return np.sign(total) * ((np.abs(total) + (1 << bits >> 1)) >> bits)


def float_interpolated(q: np.ndarray, sizes: tuple[int, int], align_corners: bool, half_pixel: bool) -> np.ndarray:
    """Return u8 q[N, C, H, W] interpolated to `sizes` in float32, 0.5 added and cut off.

    Source: reference_ops::ResizeBilinear, every product and sum in its order.
    """
    y, x = (_neighbours(q.shape[2 + i], sizes[i], align_corners, half_pixel) for i in (0, 1))
    total = np.zeros((*q.shape[:2], *sizes), np.float32)
    for (column, across), (row, down) in itertools.product(x, y):
        part = q[:, :, row][:, :, :, column].astype(np.float32)
        part *= down[:, None]
        part *= across
        total += part
    return (total + np.float32(0.5)).astype(np.int64)


def _neighbours(old: int, new: int, align_corners: bool, half_pixel: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return positions and float32 weights of the elements before and after each result along one axis."""
    aligned = align_corners and new > 1
    scale = np.float32(old - 1) / np.float32(new - 1) if aligned else np.float32(old) / np.float32(new)
    at = np.arange(new, dtype=np.float32)
    half = np.float32(0.5)
    at = (at + half) * scale - half if half_pixel else at * scale
    lower = np.maximum(np.floor(at), 0).astype(np.int64)
    upper = np.minimum(np.ceil(at), old - 1).astype(np.int64)
    fraction = at - lower.astype(np.float32)
    return [(np.minimum(lower, old - 1), np.float32(1) - fraction), (np.maximum(upper, 0), fraction)]
