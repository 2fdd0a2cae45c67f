"""Reals of 16 bits, f16 and bf16, in TIR: made wide, and rounded once, as `numerics.floats` defines it.

Code sees them as 16-bit integers and works on their bits, so that no compiler's library is needed, and every processor
has the same bits; where a processor has instructions between f16 and f32, they have these bits too.
"""

from dataclasses import dataclass

import numpy as np

from stepdown.native.machine import Machine
from stepdown.native.tensors import DTYPES
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
REALS = ("f32", *HALVES)
"""The types of real numbers that code computes with in float32."""

_F32_INFINITY, _F16_TO_F32 = 0x7F800000, 112


@dataclass(frozen=True)
class _Wide:
    """The integer of a wide type's bits, the bits of its fraction, and the bias of its exponent."""

    integer: str
    fraction: int
    bias: int

    @property
    def exponent(self) -> int:
        """The bits of the exponent, which are also those of ∞."""
        return (2 * self.bias + 1) << self.fraction

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return self.exponent | ((1 << self.fraction) - 1)

    def bits(self, value: int) -> Expr:
        """Return a constant of the integer."""
        return const(value, self.integer)


_WIDE = {"float32": _Wide("int32", 23, 127), "float64": _Wide("int64", 52, 1023)}


@dataclass(frozen=True)
class Half:
    """f16 or bf16 as code computes with it: in `wide`, and by instructions that change f16 where there are some."""

    kind: str
    wide: str = "float64"
    by_instruction: bool = False

    def real(self, pattern: Expr) -> Expr:
        """Return the float32 value of a pattern, exactly."""
        if self.kind == "f16" and self.by_instruction:
            return cast("float32", bits("float16", pattern))
        return widened(pattern, self.kind)

    def opened(self, pattern: Expr) -> Expr:
        """Return the value of a pattern in the wide type."""
        return cast(self.wide, self.real(pattern))

    def closed(self, value: Expr) -> Expr:
        """Return the pattern of a wide value, rounded to nearest, ties to even."""
        if self.wide == "float32" and self.kind == "bf16":
            return _upper_half(value)
        if self.wide == "float32" and self.by_instruction:
            return bits("uint16", cast("float16", value))
        return rounded(value, self.kind, self.wide)


def half_of(kind: str, machine: Machine) -> Half:
    """Return how a machine computes with f16 or bf16."""
    return Half(kind, machine.half_sums, machine.converts_f16)


def single_of(kind: str, machine: Machine) -> Half:
    """Return how a machine computes with f16 or bf16 in float32, whatever its sums are made in."""
    return Half(kind, "float32", machine.converts_f16)


def laid(array: np.ndarray, kind: str) -> np.ndarray:
    """Return a constant as a tensor of a storage type lies in memory."""
    return stored(array, kind) if kind in HALVES else np.ascontiguousarray(array, DTYPES[kind])


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


def rounded(value: Expr, kind: str, wide: str = "float64") -> Expr:
    """Return the 16-bit pattern of a wide value, rounded once to nearest, ties to even; overflow gives an infinity.

    Of |x| in [2^e, 2^(e+1)), e no less than that of normal numbers, the bits of |x| + 2^(e + w − fraction), w the bits
    of the wide fraction, less those of that power are |x| in units of the format's last place there; the units below
    2^e are added. bf16 has the exponents of float32, where that power may be too large: `_upper_half` is for those.
    """
    form, of = _FORMATS[kind], _WIDE[wide]
    shift = of.fraction - form.fraction
    raw = bits(of.integer, value)
    beyond = 2.0 ** (3 - form.least)
    size = smallest(bits(wide, raw & of.bits(of.magnitude)), const(beyond, wide))
    binade = largest(bits(wide, bits(of.integer, size) & of.bits(of.exponent)), const(2.0**form.least, wide))
    power = bits(of.integer, binade)
    above = power + of.bits(shift << of.fraction)
    units = bits(of.integer, size + bits(wide, above)) - above
    below = (power >> of.bits(shift)) - of.bits((of.bias + form.least) << form.fraction)
    made = smallest(cast("int32", units + below), const(form.infinity))
    known = select((raw & of.bits(of.magnitude)) > of.bits(of.exponent), const(form.nan), made)
    return cast("uint16", known | (cast("int32", raw >> of.bits(of.fraction - 4)) & const(0x8000)))


def _upper_half(value: Expr) -> Expr:
    """Return the bf16 of a float32: its upper 16 bits, one more where the lower ones are more than half, or tie."""
    raw = bits("int32", value)
    odd = (raw >> const(16)) & const(1)
    form, of = _FORMATS["bf16"], _WIDE["float32"]
    known = select((raw & const(of.magnitude)) > const(of.exponent), const(form.nan << 16), raw + const(0x7FFF) + odd)
    return cast("uint16", known >> const(16))
