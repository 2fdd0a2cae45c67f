"""Changes of the storage type of tensors that are not quantised, by value and by bits."""

from collections.abc import Sequence
from typing import Any

from stepdown.native.halves import HALVES, REALS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import MAGNITUDE, Let, is_nan, raw
from stepdown.native.kernels.logic import truth
from stepdown.native.kernels.typed import INTEGERS, Typed
from stepdown.native.tensors import BYTES, DTYPES
from stepdown.native.tir import Expr, bits, cast, clamp, const, select, tirx

_FRACTION, _BIAS = 23, 150
"""Bits of the fraction of f32, and the exponent of an integer that fills it."""


def whole(let: Let, x: Expr, kind: str) -> Expr:
    """Return a f32 cut off to an integer, in 64 bits, that a type holds; NaN becomes 0.

    The fraction as an integer is shifted by the exponent. No instruction does it: QEMU 7.2 has none for vectors of
    RISC-V, and C leaves open what does not fit.
    """
    wide, width = ("uint64" if kind == "u64" else "int64"), 8 * BYTES[kind] - (kind[0] == "i")
    number = let(raw(x) & const(MAGNITUDE))
    shift = let((number >> _FRACTION) - const(_BIAS))
    fraction = let(cast(wide, (number & const((1 << _FRACTION) - 1)) | const(1 << _FRACTION)))
    right, left = clamp(const(0) - shift, 0, 31), clamp(shift, 0, 40)
    size = let((fraction >> cast(wide, right)) << cast(wide, left))
    most = const((1 << width) - 1, wide)
    within = (shift < const(width - _FRACTION)) & (size < most)
    above, zero = let(select(within, size, most)), const(0, wide)
    below = select(within, zero - above, const(-(1 << width), wide)) if kind[0] == "i" else zero
    return let(select(is_nan(x), zero, select(raw(x) < const(0), below, above)))


@kernel("Cast")
class Conversion(Typed):
    """A value in another type; reals are cut off and saturate, integers keep their low bits."""

    def refused(self) -> str:
        """Refuse f64."""
        known = {*REALS, *INTEGERS, "i1"}
        return "" if {*self.kinds, self.made} <= known else f"is from {self.kinds[0]} to {self.made}"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the value in the other type."""
        kind, value = self.kinds[0], values[0]
        to: str = self.op.to  # type: ignore[attr-defined]
        if kind in REALS and self.made not in REALS:
            return self._of_real(self.once(self.opened(value, 0)))
        if self.made in REALS:
            real = self.opened(value, 0) if kind in REALS else cast("float32", value)
            return self.closed(self.as_stored(real, to) if to in HALVES and to != self.made else real)
        if self.made == "i1":
            return truth(tirx().Not(value.equal(const(0, DTYPES[kind]))))
        return cast(DTYPES[self.made], value)

    def _of_real(self, x: Expr) -> Expr:
        return (
            truth((raw(x) & const(MAGNITUDE)) > const(0))
            if self.made == "i1"
            else cast(DTYPES[self.made], whole(self.once, x, self.made))
        )


@kernel("BitCast")
class Reading(Typed):
    """The same bits read as another type."""

    def refused(self) -> str:
        """Refuse tensors that are not stored as the op says, and truth values."""
        op: Any = self.op
        is_held = op.source == self.kinds[0] or (op.source == "f32" and self.kinds[0] in HALVES)
        known = is_held and op.to == self.made and not {op.source, op.to} & {"i1", "f64"}
        return "" if known else f"reads {op.source}, stored as {self.kinds[0]}, as {op.to}"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the bits; reals of 16 bits lie as integers."""
        is_single = self.op.source == "f32"  # type: ignore[attr-defined]
        value = raw(self.opened(values[0], 0)) if is_single else values[0]
        return bits("float32", cast("int32", value)) if self.made == "f32" else cast(DTYPES[self.made], value)
