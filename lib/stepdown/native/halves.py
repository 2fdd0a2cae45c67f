"""Reals of 16 bits, f16 and bf16, in TIR: made wide, and rounded once, as `numerics.floats` defines it.

Code sees them as 16-bit integers and works on their bits, so that neither a processor's own conversions nor a
compiler's library is needed, and every processor has the same bits.
"""

from dataclasses import dataclass

import numpy as np

from stepdown.native.tir import Expr, bits, cast, const, largest, select, smallest
from stepdown.numerics.floats import bf16_bits


@dataclass(frozen=True)
class _Format:
    """Bits of the fraction, the exponent of the least normal number, the patterns of ∞ and of NaN."""

    fraction: int
    least: int
    infinity: int
    nan: int


_FORMATS = {"f16": _Format(10, -14, 0x7C00, 0x7E00), "bf16": _Format(7, -126, 0x7F80, 0x7FC0)}
HALVES = tuple(_FORMATS)

_F32_INFINITY, _F16_TO_F32 = 0x7F800000, 112
_FRACTION, _BIAS = 52, 1023
_MAGNITUDE, _EXPONENT = (1 << 63) - 1, 0x7FF << _FRACTION
"""Parts of a float64."""


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    """Return the 16-bit patterns (uint16) of values that the format can represent."""
    if kind == "bf16":
        return bf16_bits(np.asarray(values, np.float32))
    return np.asarray(values).astype(np.float16).view(np.uint16)


def widened(pattern: Expr, kind: str) -> Expr:
    """Return the float32 value of a 16-bit pattern, exactly."""
    whole = cast("int32", pattern)
    if kind == "bf16":
        return bits("float32", whole << 16)
    magnitude = (whole & const(0x7FFF)) << 13
    scaled = bits("int32", bits("float32", magnitude) * const(2.0**_F16_TO_F32, "float32"))
    known = select(magnitude >= const(0x7C00 << 13), magnitude | const(_F32_INFINITY), scaled)
    return bits("float32", known | ((whole & const(0x8000)) << 16))


def rounded(value: Expr, kind: str) -> Expr:
    """Return the 16-bit pattern of a float64, rounded once to nearest, ties to even; overflow gives an infinity.

    Of |x| in [2^e, 2^(e+1)), e no less than that of normal numbers, the bits of |x| + 2^(e + 52 − fraction) less those
    of that power are |x| in units of the format's last place there; the units below 2^e are added.
    """
    form = _FORMATS[kind]
    shift = _FRACTION - form.fraction
    raw = bits("int64", value)
    beyond = 2.0 ** (3 - form.least)
    size = smallest(bits("float64", raw & _i64(_MAGNITUDE)), const(beyond, "float64"))
    binade = largest(bits("float64", bits("int64", size) & _i64(_EXPONENT)), const(2.0**form.least, "float64"))
    power = bits("int64", binade)
    above = power + _i64(shift << _FRACTION)
    units = bits("int64", size + bits("float64", above)) - above
    below = (power >> _i64(shift)) - _i64((_BIAS + form.least) << form.fraction)
    made = smallest(cast("int32", units + below), const(form.infinity))
    known = select((raw & _i64(_MAGNITUDE)) > _i64(_EXPONENT), const(form.nan), made)
    return cast("uint16", known | (cast("int32", raw >> _i64(48)) & const(0x8000)))


def _i64(value: int) -> Expr:
    return const(value, "int64")
