"""Multiplying an integer by a float32 (profile `float_scale`), as accelerators with a float unit behind their sums do.

The integer is rounded to float32, the product is rounded to float32, and that to an integer, each time to nearest with
ties to even; then the zero point is added, as an integer, and the result saturates.
Source: Gemmini, `gemmini_params.h`, ACC_SCALE and MVIN_SCALE with ROUND_NEAR_EVEN; in hardware (`Configs.scala`,
acc_scale_args) INToRecFN, MulAddRecFN and RecFNToIN with round_near_even.
"""

import math
from collections.abc import Sequence

import numpy as np

from stepdown.errors import UnsupportedModel


def float_scales(scales: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the factors as float32.

    Raises:
        UnsupportedModel: one is negative, no number, or too large for float32.
    """
    given = np.asarray(scales, np.float64).reshape(-1)
    with np.errstate(over="ignore"):
        stored = given.astype(np.float32)
    if wrong := [float(s) for s, f in zip(given, stored, strict=True) if not (s >= 0 and math.isfinite(f))]:
        raise UnsupportedModel(f"a rescale by {wrong[0]:g} is no float32", fix="check the calibrated ranges")
    return stored


def scale_rounded(acc: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Return round_half_even(float32(acc) × scale) as float32; `acc` holds integers in any type."""
    with np.errstate(over="ignore"):
        product: np.ndarray = np.multiply(acc.astype(np.float32), np.asarray(scale, np.float32), dtype=np.float32)
    return np.rint(product, out=product) if product.ndim else np.rint(product)


def rescale_by_float(
    acc: np.ndarray, scale: np.ndarray | float, zero_point: int, bounds: tuple[int, int], dtype: type
) -> np.ndarray:
    """Return saturate(round_half_even(float32(acc) × scale) + zero_point) to `bounds`, as `dtype`.

    `scale` is a scalar, or broadcasts against `acc`.
    """
    low, high = bounds
    scaled = np.clip(scale_rounded(acc, scale), np.float32(low - zero_point), np.float32(high - zero_point))
    return (scaled.astype(np.int32) + zero_point).astype(dtype)
