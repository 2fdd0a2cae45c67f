"""Changes of the storage type of tensors that are not quantised, by value and by bits."""

from collections.abc import Sequence

from stepdown.native.halves import HALVES
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import MAGNITUDE, is_nan, raw
from stepdown.native.kernels.logic import truth
from stepdown.native.kernels.typed import INTEGERS, REALS, Typed
from stepdown.native.tensors import BYTES, DTYPES
from stepdown.native.tir import Expr, bits, cast, const, largest, select, smallest, tirx

_FRACTION, _BIAS = 23, 150
"""Bits of the fraction of f32, and the exponent of an integer that fills it."""


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
            return self.closed(self._kept(real, to))
        if self.made == "i1":
            return truth(tirx().Not(value.equal(const(0, DTYPES[kind]))))
        return cast(DTYPES[self.made], value)

    def _kept(self, x: Expr, to: str) -> Expr:
        """Return a f32 as the type keeps it that the op names, where the result is stored as another one."""
        if to not in HALVES or to == self.made:
            return x
        half = self.half(to)
        return half.real(self.once(half.closed(self.once(x))))

    def _of_real(self, x: Expr) -> Expr:
        return truth((raw(x) & const(MAGNITUDE)) > const(0)) if self.made == "i1" else self._whole(x)

    def _whole(self, x: Expr) -> Expr:
        """Return x cut off, by its bits: the fraction as an integer, shifted by the exponent; NaN becomes 0.

        No instruction does it: QEMU 7.2 has none for vectors of RISC-V, and C leaves open what does not fit.
        """
        wide = "uint64" if self.made == "u64" else "int64"
        width = 8 * BYTES[self.made] - (self.made[0] == "i")
        number = self.once(raw(x) & const(MAGNITUDE))
        shift = self.once((number >> _FRACTION) - const(_BIAS))
        fraction = self.once(cast(wide, (number & const((1 << _FRACTION) - 1)) | const(1 << _FRACTION)))
        right = smallest(largest(const(0) - shift, const(0)), const(31))
        left = smallest(largest(shift, const(0)), const(40))
        size = self.once((fraction >> cast(wide, right)) << cast(wide, left))
        most = const((1 << width) - 1, wide)
        within = (shift < const(width - _FRACTION)) & (size < most)
        above = self.once(select(within, size, most))
        low = const(0, wide) - above if self.made[0] == "i" else const(0, wide)
        if self.made[0] == "i":
            low = select(within, low, const(-(1 << width), wide))
        whole = select(raw(x) < const(0), low, above)
        return cast(DTYPES[self.made], select(is_nan(x), const(0, wide), whole))


@kernel("BitCast")
class Reading(Typed):
    """The same bits read as another type."""

    def refused(self) -> str:
        """Refuse tensors that are not stored as the op says, and truth values."""
        op = self.op
        named = [op.source, op.to]  # type: ignore[attr-defined]
        if named != [self.kinds[0], self.made] or "i1" in named or "f64" in named:
            return f"reads {named[0]}, stored as {self.kinds[0]}, as {named[1]}"
        return ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the bits; reals of 16 bits lie as integers."""
        value = raw(values[0]) if self.kinds[0] == "f32" else values[0]
        return bits("float32", cast("int32", value)) if self.made == "f32" else cast(DTYPES[self.made], value)
