"""Rounding to the 16-bit floating formats, to nearest with ties to even (IEEE 754).

Values of both formats are held in float32 arrays whose elements the format can represent.
"""

from collections.abc import Callable

import numpy as np

BF16_MIN_NORMAL = 2.0**-126
_BF16_SUBNORMAL_STEP = 2.0**-133


def round_f16(x: np.ndarray) -> np.ndarray:
    """Round float32 or float64 `x` once to float16 values, held as float32. Overflow gives an infinity."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def round_bf16(x: np.ndarray) -> np.ndarray:
    """Round float32 or float64 `x` once to bfloat16 values, held as float32. Overflow gives an infinity."""
    if x.dtype == np.float32:
        return from_bf16_bits(bf16_bits(x))
    x = np.asarray(x, np.float64)
    bits = np.ascontiguousarray(x).view(np.int64).reshape(x.shape)
    # bfloat16 keeps 7 of float64's 52 fraction bits: add half of the last kept place, ties to even, and cut.
    rounded = ((bits + (((bits >> 45) & 1) + ((1 << 44) - 1))) & ~((1 << 45) - 1)).view(np.float64)
    small = np.abs(x) < BF16_MIN_NORMAL
    if small.any():
        rounded = np.where(small, np.rint(x / _BF16_SUBNORMAL_STEP) * _BF16_SUBNORMAL_STEP, rounded)
    with np.errstate(over="ignore"):
        return np.where(np.isnan(x), x, rounded).astype(np.float32)


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """Return the bfloat16 bit patterns (uint16) of float32 `x`, rounded to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(np.shape(x))
    rounded = ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0) | (bits >> 31).astype(np.uint16) << 15, rounded)


def from_bf16_bits(bits: np.ndarray) -> np.ndarray:
    """Return the float32 values of bfloat16 bit patterns (uint16)."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def _round_f32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32, copy=False)


ROUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {"f32": _round_f32, "f16": round_f16, "bf16": round_bf16}
