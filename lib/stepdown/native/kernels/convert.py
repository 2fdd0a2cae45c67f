"""Changes of the storage type: integers of reals, and back, and reals of 16 bits."""

from collections.abc import Sequence

import numpy as np

from stepdown.dialects.types import quant_of, storage_of
from stepdown.native.halves import HALVES, Half, single_of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tir import Expr, bits, cast, clamp, const, select

# 1.5 · 2^23: of a float32 below 2^22 plus this, the bits less those of this are the integer nearest to it, ties to
# even. The difference is taken of the bits, as TVM would simplify that of the floats.
_MAGIC, _MAGIC_BITS = 12582912.0, 0x4B400000
_INFINITY_BITS, _MAGNITUDE_BITS = 0x7F800000, 0x7FFFFFFF


@kernel("Convert")
class Conversion(Elementwise):
    """From and to integers and reals of 16 and 32 bits: a value passes through f32, as in the reference."""

    def check(self) -> None:
        """Refuse the types that have no code."""
        self._source, self._target = quant_of(self.op.operands[0]), quant_of(self.op.results[0])
        self._kinds = storage_of(self.op.operands[0]), storage_of(self.op.results[0])
        sides = zip((self._source, self._target), self._kinds, strict=True)
        known = all(params or kind in ("f32", *HALVES) for params, kind in sides)
        if not known or any(params and params.axis is not None for params in (self._source, self._target)):
            raise self.refuse(f"from {self._kinds[0]} to {self._kinds[1]} has no code for CPUs")

    def constants(self) -> dict[str, np.ndarray]:
        """Return no arrays."""
        return {}

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the value in the other type."""
        real = self._real(values[0])
        if self._target:
            return self._quantised(real)
        return self._half(1).closed(real) if self._kinds[1] in HALVES else real

    def _real(self, value: Expr) -> Expr:
        """Return the value as float32: (q − zp) · scale of an integer."""
        if self._source is None:
            return self._half(0).real(value) if self._kinds[0] in HALVES else value
        difference = cast("int32", value) - self._source.zero_point
        scale = float(np.float32(self._source.scale))  # type: ignore[arg-type]
        return cast("float32", difference) * const(scale, "float32")

    def _half(self, side: int) -> Half:
        return single_of(self._kinds[side], self.machine)

    def _quantised(self, value: Expr) -> Expr:
        """Return saturate(round(x / scale) + zp); NaN becomes the zero point.

        Clamped first, as the bounds are integers, so that rounding needs no library function.
        """
        params = self._target
        assert params is not None
        low, high = (float(bound - params.zero_point) for bound in params.bounds)
        scaled = value / const(float(np.float32(params.scale)), "float32")  # type: ignore[arg-type]
        kept = clamp(scaled, low, high, "float32")
        nearest = self._nearest(select(_is_nan(scaled), const(0.0, "float32"), kept))
        return cast(self.results[0].dtype, nearest + params.zero_point)

    def _nearest(self, value: Expr) -> Expr:
        """Return the nearest integer as int32; no instruction cuts off, as QEMU 7.2 has none for vectors of RISC-V."""
        whole = bits("int32", value + const(_MAGIC, "float32")) - _MAGIC_BITS
        if self.op.ties == "even":  # type: ignore[attr-defined]
            return whole
        rest, zero = value - cast("float32", whole), const(0.0, "float32")
        up = select((rest == const(0.5, "float32")) & (value > zero), const(1), const(0))
        return whole + up - select((rest == const(-0.5, "float32")) & (value < zero), const(1), const(0))


def _is_nan(value: Expr) -> Expr:
    return (bits("int32", value) & const(_MAGNITUDE_BITS)) > const(_INFINITY_BITS)
