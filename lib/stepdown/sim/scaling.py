"""How integers are brought to another scale: by multiplier and shift, or by a float32 in the multiplier's bits."""

import numpy as np

from stepdown.errors import InputError
from stepdown.numerics.float_scale import rescale_by_float, scale_rounded
from stepdown.numerics.rescale import APPLY_SCALE, MAX_SHIFT, rescale

Number = np.ndarray | int


def scaled(acc: np.ndarray, multiplier: Number, shift: Number, rounding: str) -> np.ndarray:
    """Return integers times a scale, rounded, in int64; both factors broadcast against `acc`."""
    check_shift(shift)
    if rounding == "float":
        return scale_rounded(acc, as_float(multiplier)).astype(np.int64)
    return APPLY_SCALE[rounding](acc, multiplier, shift)


def stored(
    acc: np.ndarray, multiplier: Number, shift: Number, zero: int, bounds: tuple[int, int], dtype: type, rounding: str
) -> np.ndarray:
    """Return saturate(scaled(acc) + zero) to `bounds` as `dtype`."""
    check_shift(shift)
    if rounding == "float":
        return rescale_by_float(acc, as_float(multiplier), zero, bounds, dtype)
    return rescale(acc, multiplier, shift, zero, bounds, dtype, rounding)


def as_float(bits: Number) -> np.ndarray:
    """Return the float32 values of bits held as int32."""
    return np.asarray(bits, np.int32).view(np.float32)


def check_shift(shift: Number) -> None:
    """Check shifts that were read from memory.

    Raises:
        InputError: one is not 1 to 62.
    """
    low, high = int(np.min(shift)), int(np.max(shift))
    if low < 1 or high > MAX_SHIFT:
        raise InputError(f"reads shifts from {low} to {high}, want 1 to {MAX_SHIFT}: are its parameters in place?")
