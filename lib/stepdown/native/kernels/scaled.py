"""Tensors scaled by one number a channel, quantised by scales that are operands, and folds of reals of 16 bits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepdown.dialects.types import is_none, shape_of
from stepdown.native.halves import HALVES, REALS
from stepdown.native.kernels import functions as of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.cast import whole
from stepdown.native.kernels.floating import FUNCTIONS
from stepdown.native.kernels.functions import Let, real
from stepdown.native.kernels.typed import INTEGERS, Typed
from stepdown.native.tensors import DTYPES
from stepdown.native.tir import Expr, cast, clamp

Shape = tuple[int, ...]


class Real(Typed):
    """A function of reals, of 16 bits among them, that is rounded once: give `made_of`."""

    def refused(self) -> str:
        """Refuse what is not real."""
        if not {*self.kinds, self.made} <= set(REALS):
            raise self.is_not_of(" or ".join(REALS))
        return ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the function of the operands."""
        return self.closed(self.made_of(self.once, self.reals(values)))

    def made_of(self, let: Let, x: Sequence[Expr]) -> Expr:
        """Return the f32 result of f32 operands."""
        raise NotImplementedError


@kernel("Pow", "Mod", "SquaredDifference")
class HalfFold(Real):
    """A fold of two reals of 16 bits, computed in f32."""

    def made_of(self, let: Let, x: Sequence[Expr]) -> Expr:
        """Return the fold."""
        return FUNCTIONS[type(self.op).__name__](let, self.op, x)


class PerChannel(Real):
    """An op whose further operands have one number a channel."""

    def viewed(self, index: int, shape: Shape) -> Shape:
        """Return a vector of channels as it broadcasts to [N, C, …]."""
        return (*shape, *[1] * (len(shape_of(self.op.operands[0])) - 2)) if index else shape


@kernel("Scale")
class Scaling(PerChannel):
    """x · scale + bias."""

    def made_of(self, let: Let, x: Sequence[Expr]) -> Expr:
        """Return the scaled element."""
        return x[0] * x[1] + x[2]


@kernel("BatchNorm")
class Normalisation(PerChannel):
    """(x − mean) · (scale / √(variance + epsilon)) + bias."""

    def made_of(self, let: Let, x: Sequence[Expr]) -> Expr:
        """Return the normalised element."""
        value, scale, bias, mean, variance = x
        root = of.sqrt(let, let(variance + real(self.op.epsilon)))  # type: ignore[attr-defined]
        return (value - mean) * (scale / root) + bias


class Scaled(Typed):
    """Integers by scales, and perhaps zero points, that are operands: one, one a channel along an axis, or a block."""

    def check(self) -> None:
        """Refuse scales of the type, and ones by block that are no constants."""
        self.present = [i for i, v in enumerate(self.op.operands) if not is_none(v)]
        if len(self.present) < 2:
            raise self.refuse("has its scale in its type")
        if self.op.block_size and any(self.weights[i] is None for i in self.present[1:]):  # type: ignore[attr-defined]
            raise self.refuse("has scales by block that are no constants")
        super().check()

    @property
    def sides(self) -> list[Any]:
        """The operands that there are."""
        return [v for v in self.op.operands if not is_none(v)]

    def constants(self) -> dict[str, np.ndarray]:
        """Return the constant sides, of blocks one for each element along the axis."""
        held = super().constants()
        return {n: np.ascontiguousarray(self._spread(a)) if n != "c0" else a for n, a in held.items()}

    def viewed(self, index: int, shape: Shape) -> Shape:
        """Return the shape in which scales and zero points broadcast."""
        return self._spread(np.broadcast_to(np.float32(0), shape)).shape if index else shape

    def _spread(self, part: np.ndarray) -> np.ndarray:
        op: Any = self.op
        return np.asarray(op.spread(part, np.broadcast_to(np.float32(0), shape_of(op.operands[0]))))


@kernel("Quantize")
class Quantisation(Scaled):
    """saturate(round(x / scale) + zero point), ties to even; NaN becomes the zero point."""

    def refused(self) -> str:
        """Refuse f64."""
        known = {*REALS, *INTEGERS}
        return "" if {*self.kinds, self.made} <= known else f"is of {' and '.join(self.kinds)}"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the stored integer."""
        x = self.opened(values[0], 0) if self.kinds[0] in REALS else cast("float32", values[0])
        nearest = of.nearest(self.once, self.once(x / self.opened(values[1], 1)))
        number = clamp(whole(self.once, nearest, "i64"), -_FAR, _FAR, "int64")
        if len(values) > 2:
            number = number + cast("int64", values[2])
        limits = np.iinfo(DTYPES[self.made])
        return cast(DTYPES[self.made], clamp(number, int(limits.min), int(limits.max), "int64"))


_FAR = 1 << 40


@kernel("Dequantize")
class Dequantisation(Scaled):
    """(q − zero point) · scale."""

    def refused(self) -> str:
        """Refuse what is not of integers by real scales."""
        known = self.kinds[0] in INTEGERS and self.kinds[1] in REALS and self.made in REALS
        return "" if known else f"is from {self.kinds[0]} by {self.kinds[1]} to {self.made}"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the real number, rounded to what the op names where that is stored as another type."""
        wide_type = "int32" if self.kinds[0] in ("i8", "u8", "i16", "u16") else "int64"
        number = cast(wide_type, values[0])
        if len(values) > 2:
            number = number - cast(wide_type, values[2])
        value = self.once(cast("float32", number) * self.opened(values[1], 1))
        to: str = self.op.to  # type: ignore[attr-defined]
        return self.closed(self.as_stored(value, to) if to in HALVES and to != self.made else value)
