"""Multiplying an integer by a real number with integers only.

Two roundings: `single` is TOSA's apply_scale_32, `double` is TensorFlow Lite's MultiplyByQuantizedMultiplier, whose
multiplier / 2^31 and power of two each round (gemmlowp). Both have a multiplier and one right shift.
"""

import math
from collections.abc import Sequence

import numpy as np

from stepdown.errors import UnsupportedModel

MAX_SHIFT = 62
# Elementwise operands are lifted by this many bits before they are brought to one scale.
ELTWISE_LEFT_SHIFT = 20
# Elements rescaled at a time: small enough for the work arrays to stay in the second-level cache.
_BLOCK = 1 << 15


def multiplier_shift(scale: float) -> tuple[int, int]:
    """Return (multiplier, shift) with multiplier in [2^30, 2^31) and multiplier / 2^shift nearest to `scale`.

    A scale below 2^−32 has multiplier 0.

    Raises:
        UnsupportedModel: `scale` is 2^29 or more, or not a number.
    """
    if not 0 <= scale < 2.0**29:
        raise UnsupportedModel(f"a rescale by {scale:g} is outside [0, 2^29)", fix="check the calibrated ranges")
    if scale < 2.0**-32:
        return 0, MAX_SHIFT
    mantissa, exponent = math.frexp(scale)  # scale = mantissa × 2^exponent, mantissa in [0.5, 1)
    multiplier, shift = round(mantissa * 2.0**31), 31 - exponent
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift - 1
    return multiplier, shift


def multipliers_shifts(scales: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int32 multipliers[C] and int8 shifts[C] for the scales[C] of the channels."""
    pairs = [multiplier_shift(float(scale)) for scale in np.asarray(scales).reshape(-1)]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def apply_scale(acc: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return (acc × multiplier + 2^(shift−1)) >> shift in int64, rounded half up."""
    shift = np.asarray(shift, np.int64)
    work: np.ndarray = np.array(acc, np.int64)
    work *= np.asarray(multiplier, np.int64)
    work += np.int64(1) << (shift - 1)
    work >>= shift
    return work


def apply_scale_twice(acc: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return acc × multiplier / 2^shift in int64, rounded twice, as TensorFlow Lite does.

    A shift above 31 first divides by 2^31, half up, then by the rest, half away from zero; one below lifts `acc` first
    and wraps at 32 bits. Source: MultiplyByQuantizedMultiplier, SaturatingRoundingDoublingHighMul, RoundingDivideByPOT.
    """
    work: np.ndarray = np.array(acc, np.int64)
    shift = np.asarray(shift, np.int64)
    if (shift < 31).any():
        work <<= np.maximum(31 - shift, 0)
        work[...] = work.astype(np.int32)
    work *= np.asarray(multiplier, np.int64)
    work += 1 << 30
    work >>= 31
    right = np.maximum(shift - 31, 0)
    if right.any():
        sign = work >> 63
        sign &= -(right > 0).astype(np.int64)
        work += sign
        work += (np.int64(1) << right) >> 1
        work >>= right
    return work


APPLY_SCALE = {"single": apply_scale, "double": apply_scale_twice}
"""By rounding: how an integer is multiplied by multiplier / 2^shift."""


def rescale(
    acc: np.ndarray,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    zero_point: int,
    bounds: tuple[int, int],
    dtype: type,
    rounding: str = "single",
) -> np.ndarray:
    """Return saturate(apply_scale(acc) + zero_point) to `bounds`, as `dtype`.

    `acc` holds integers in any type. `multiplier` and `shift` are scalars, or broadcast against `acc` with size 1
    on every axis but one; then the work is done channel block by channel block.
    """
    out: np.ndarray = np.empty(acc.shape, dtype)
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    apply = APPLY_SCALE[rounding]
    for index in _blocks(acc.shape, multiplier.shape):
        pick = tuple(slice(None) if n == 1 else i for n, i in zip(multiplier.shape, index, strict=False))
        work = apply(acc[index], multiplier[pick], shift[pick])
        work += zero_point
        out[index] = np.clip(work, *bounds, out=work)
    return out


def _blocks(shape: tuple[int, ...], channels: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Cut `shape` along its channel axis (or its first long axis) into pieces of about `_BLOCK` elements."""
    whole = tuple(slice(None) for _ in shape)
    size = math.prod(shape)
    if size <= _BLOCK or not shape:
        return [whole]
    axis = next((i for i, n in enumerate(channels) if n > 1), next(i for i, n in enumerate(shape) if n > 1))
    step = max(1, _BLOCK * shape[axis] // size)
    return [(*whole[:axis], slice(i, i + step), *whole[axis + 1 :]) for i in range(0, shape[axis], step)]
