"""Sums of two tensors of 8 bits in one fixed point: one rounding, and the bytes of a definition that has three.

The definition brings both sides to one scale, adds them and brings the sum to the scale of the result; each of these
multiplies in 64 bits and rounds. Here a result is (a·p + b·q + r) >> t, saturated: p and q are the factors of the sides
in 30 bits, and r is one for which all pairs of stored integers give the byte of the definition. There are no more than
65,536 pairs, so that all are tried; where there is no such r the definition is what is left.
"""

import math
from dataclasses import dataclass

import numpy as np

from stepdown.native.tir import Expr

_BITS, _HALF = 30, 15
"""Of a factor, and of its low half: products of halves with integers of 9 bits fit in int32, and their sums do."""
_SHIFTS = (_HALF + 1, 36)
_NEVER = 1 << 62


@dataclass(frozen=True)
class FixedSum:
    """Factors p and q, start r and shift t of the stored integers a and b."""

    factors: tuple[int, int]
    start: int
    shift: int

    def apply(self, a: Expr, b: Expr) -> Expr:
        """Return (a·p + b·q + r) >> t of int32, by halves of the factors: the low ones carry into the high ones."""
        (p, low_p), (q, low_q), (start, low_start) = (divmod(n, 1 << _HALF) for n in (*self.factors, self.start))
        low = a * low_p + b * low_q
        carry = (low + low_start if low_start else low) >> _HALF
        return (a * p + b * q + (carry + start)) >> (self.shift - _HALF)


def fixed_sum(
    wanted: np.ndarray, a: np.ndarray, b: np.ndarray, factors: tuple[float, float], bounds: tuple[int, int]
) -> FixedSum | None:
    """Return the sum that gives `wanted[a, b]`, kept within `bounds`, for all stored integers a and b; None: none does.

    `factors` are those of the definition, as real numbers; a and b have 9 bits with their sign at most.
    """
    shift = min(_SHIFTS[1], _BITS - math.frexp(max(map(abs, factors)))[1])
    if shift < _SHIFTS[0]:
        return None
    p, q = (round(math.ldexp(factor, shift)) for factor in factors)
    sums, wide = a.astype(np.int64)[:, None] * p + b.astype(np.int64) * q, wanted.astype(np.int64)
    least = int(np.where(wide > bounds[0], (wide << shift) - sums, -_NEVER).max())
    most = int(np.where(wide < bounds[1], (wide + 1 << shift) - 1 - sums, _NEVER).min())
    nearest = min(max(0, least), most)
    rounded = -(-nearest >> _HALF) << _HALF
    start = rounded if rounded <= most else nearest
    return FixedSum((p, q), start, shift) if least <= most else None
