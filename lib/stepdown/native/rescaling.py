"""Rescaling in TIR, as `numerics.rescale` defines it.

Where a bound on the sum proves that nothing is lost, only the high half of the 64-bit product is made, and the rest of
the shift is done on 32 bits, of which a vector register holds twice as many: of a shift ≥ 33 both the half that is
added and the shifted-out part below it are multiples of 2^32, so the low half never decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.errors import UnsupportedModel
from stepdown.native.pairs import LANES, chosen, high_halves, in_words, packed, products, shifted, words
from stepdown.native.tir import Expr, bits, cast, clamp, const, repeat, select
from stepdown.numerics.rescale import MAX_SHIFT

_HIGH, _NARROW = 33, 7
_ONE, _SHIFTS = 1 << 30, (31, 61)
"""A multiplier that is a power of two, and the shifts with which it makes a rounded shift of 32 bits."""
_MAGIC = 1.5 * 2.0**52
"""Of a float64 below 2^31 plus this, the low half of the bits is the integer nearest to it, ties to even."""


@dataclass(frozen=True)
class Output:
    """How a result is stored: its type, zero point and bounds."""

    dtype: str
    zero_point: int
    bounds: tuple[int, int]

    def stored(self, scaled: Expr, wide: str = "int32") -> Expr:
        """Return saturate(scaled + zero point); no addition leaves the type, whatever `scaled` is."""
        low, high = (bound - self.zero_point for bound in self.bounds)
        kept = cast("int32", clamp(scaled, low, high, wide))
        return cast(self.dtype, kept + self.zero_point if self.zero_point else kept)

    def packed(self, words: Expr) -> Expr:
        """Return the same of two vectors, as `Scale.apply_two` makes them, in a row."""
        return packed(words, self.zero_point, self.dtype, self.bounds)


class Scale:
    """A multiplication by multiplier / 2^shift, one for all or one a channel.

    `bound` is at least |sum|. The constants of channels are arrays of the kernel, found by name in `parts`.
    """

    def __init__(self, multiplier: Any, shift: Any, rounding: str, bound: int) -> None:
        self._multiplier = np.atleast_1d(np.asarray(multiplier))
        self._shift = np.atleast_1d(np.asarray(shift if shift is not None else 0)).astype(np.int64)
        self._rounding, self._bound = rounding, bound
        make = {"single": self._single, "double": self._double, "away": self._away}.get(rounding)
        if make is None:
            raise UnsupportedModel(f"rounding '{rounding}' has no code for CPUs")
        self.wide = "int32"
        self._lift = 0
        self._is_power = False
        """Whether the multiplication is by a power of two, which is a shift: of two sides of a sum, one's always is."""
        self.parts: dict[str, np.ndarray] = {}
        make()

    def _single(self) -> None:
        if self._multiplier.tolist() == [_ONE] and _SHIFTS[0] <= self._shift[0] <= _SHIFTS[1]:
            half = 1 << int(self._shift[0]) - 31
            if self._bound + half < 1 << 31:
                self._is_power, self.parts = True, {"half": _i32([half]), "shift": _i32(self._shift - 30)}
                return
        shift = np.where(self._multiplier == 0, MAX_SHIFT, self._shift)
        self._lift = max(0, _HIGH - int(shift.min()))
        shift = np.where(self._multiplier == 0, _HIGH, shift + self._lift)
        if self._bound << self._lift >= 1 << 31 or shift.max() > 63:
            self.wide, self._lift = "int64", 0
            self.parts = {"multiplier": _i32(self._multiplier), "shift": _i32(self._shift)}
            return
        self.parts = {
            "multiplier": _i32(self._multiplier), "half": _i32(1 << (shift - _HIGH)), "shift": _i32(shift - _HIGH + 1),
        }  # fmt: skip

    def narrow(self, low: int, high: int, sums: tuple[np.ndarray, np.ndarray]) -> None:
        """Shift 16 bits last, where `is_high`, if that is proved to be the same for results kept between two bounds.

        `sums` are the least and the most of each channel. Of a high half that is the result · 2^n, n at most 7, 16 bits
        are enough. Where n is more the multiplier is divided by 2^(n − 7) and rounded. Of functions that never fall
        the results are the same for all sums if each result begins at the same sum.
        """
        if self._multiplier.size == 1:
            sums = sums[0].min(keepdims=True), sums[1].max(keepdims=True)
        whole, shift = self._multiplier.astype(np.int64), self.parts["shift"].astype(np.int64)
        kept, begins = np.minimum(shift, _NARROW), self._begins(whole, shift, (low, high), sums)
        multiplier, found = np.zeros_like(whole), whole == 0
        for added in (0, 1, -1, 2):
            tried = (whole >> shift - kept) + added
            same = (self._begins(tried, kept, (low, high), sums) == begins).all(0) & ~found
            multiplier, found = np.where(same, tried, multiplier), found | same
        if found.all():
            self.parts = {
                "multiplier": _i32(multiplier), "half": _i32(1 << kept - 1), "shift": _i32(kept),
                "factor": (1 << 15 - kept).astype(np.int16),
            }  # fmt: skip

    def _begins(
        self, multiplier: np.ndarray, shift: np.ndarray, bounds: tuple[int, int], sums: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Return the least sums[result, channel] that give the results above the lower bound, up to the other one.

        The numerator has up to 71 bits: it is divided in two parts.
        """
        results, divisor = np.arange(bounds[0] + 1, bounds[1] + 1)[:, None], np.maximum(multiplier, 1)
        exponent = shift + (31 - self._lift)
        first = np.minimum(exponent, 31)
        quotient, rest = np.divmod((1 - 2 * results) << first, divisor)
        quotient = np.clip(quotient, -1 << 31, 1 << 31) << exponent - first
        return np.clip(-(quotient + (rest << exponent - first) // divisor), sums[0], sums[1] + 1)

    def _double(self) -> None:
        left, right = np.maximum(31 - self._shift, 0), np.maximum(self._shift - 31, 0)
        if self._bound >= 1 << 30 or right.max() > 30:
            self.wide = "int64"
        self.parts = {"multiplier": _i32(self._multiplier), "half": _i32((1 << right) >> 1), "shift": _i32(right)}
        if left.any():
            self.parts["left"] = _i32(left)
        if not right.all():
            self.parts["sign"] = -_i32(right > 0)

    def _away(self) -> None:
        self.parts = {"multiplier": self._multiplier.astype(np.float64)}

    def constants(self, size: int) -> dict[str, np.ndarray]:
        """Return the arrays of the channels, each filled up to `size`; none where there is one scale for all."""
        if self._multiplier.size == 1:
            return {}
        return {name: np.pad(values, (0, size - values.size), "edge") for name, values in self.parts.items()}

    def values(self, buffers: Mapping[str, Any], index: Expr) -> dict[str, Expr]:
        """Return each part: of the channels at `index`, or the one that all share."""
        if self._multiplier.size > 1:
            return {name: buffers[name][index] for name in self.parts}
        return {name: const(values[0].item(), str(values.dtype)) for name, values in self.parts.items()}

    def apply(self, total: Expr, parts: Mapping[str, Expr]) -> Expr:
        """Return the scaled sum (int32) in the type `wide`."""
        if self._rounding == "away":
            return _rounded_away(cast("float64", total) * parts["multiplier"])
        if self._rounding == "double":
            return self._apply_double(total, parts)
        if self._is_power:
            return (total + parts["half"]) >> parts["shift"]
        if self.wide == "int64":
            shift = cast("int64", parts["shift"])
            half = const(1, "int64") << (shift - 1)
            return (cast("int64", total) * cast("int64", parts["multiplier"]) + half) >> shift
        lifted = self._lifted(total)
        high = cast("int32", (cast("int64", lifted) * cast("int64", parts["multiplier"])) >> const(32, "int64"))
        return (high + parts["half"]) >> parts["shift"]

    @property
    def is_high(self) -> bool:
        """Whether the high half of the product is all that is made of it."""
        return self._rounding == "single" and self.wide == "int32" and not self._is_power

    @property
    def is_narrow(self) -> bool:
        """Whether 16 bits are shifted last."""
        return "factor" in self.parts

    def apply_vector(self, total: Expr, parts: Mapping[str, Expr], lanes: int) -> Expr:
        """Return `lanes` scaled sums as `apply` does, where `is_high`, by products of every second lane, as x86 has.

        What a compiler makes of `apply` on vectors has three times as many moves between lanes.
        """
        parts = self._in_lanes(parts, lanes)
        return (high_halves(self._lifted(total), parts["multiplier"], lanes) + parts["half"]) >> parts["shift"]

    def apply_two(self, totals: Sequence[Expr], parts: Sequence[Mapping[str, Expr]]) -> Expr:
        """Return two vectors of `pairs.LANES` scaled sums, where `is_narrow`, as `pairs.packed` takes them."""
        a, b = held = [self._in_lanes(part, LANES) for part in parts]
        made = [products(self._lifted(t), p["multiplier"], LANES) for t, p in zip(totals, held, strict=True)]
        even, odd = (chosen(first, second, 1) for first, second in zip(*made, strict=True))
        return shifted(words(even, odd), in_words(a["factor"], b["factor"]))

    def _lifted(self, total: Expr) -> Expr:
        return total << self._lift if self._lift else total

    def _in_lanes(self, parts: Mapping[str, Expr], lanes: int) -> Mapping[str, Expr]:
        """Return the parts as vectors, which those of channels are."""
        return parts if self._multiplier.size > 1 else {name: repeat(part, lanes) for name, part in parts.items()}

    def _apply_double(self, total: Expr, parts: Mapping[str, Expr]) -> Expr:
        lifted = total << parts["left"] if "left" in parts else total
        product = cast("int64", lifted) * cast("int64", parts["multiplier"]) + const(1 << 30, "int64")
        high = cast(self.wide, product >> const(31, "int64"))
        sign = high >> const(63 if self.wide == "int64" else 31, self.wide)
        if "sign" in parts:
            sign = sign & cast(self.wide, parts["sign"])
        return (high + sign + cast(self.wide, parts["half"])) >> cast(self.wide, parts["shift"])


def _rounded_away(value: Expr) -> Expr:
    """Return a float64 rounded to the nearest int32, halves away from zero; what is beyond is the last one.

    To even first, by the bits of a sum, then a half is moved on: no instruction cuts off.
    """
    near = clamp(value, -(2.0**31), 2.0**31 - 1, "float64")
    whole = cast("int32", bits("int64", near + const(_MAGIC, "float64")))
    rest, zero = near - cast("float64", whole), const(0.0, "float64")
    up = select((rest == const(0.5, "float64")) & (near > zero), const(1), const(0))
    return whole + up - select((rest == const(-0.5, "float64")) & (near < zero), const(1), const(0))


def _i32(values: Any) -> np.ndarray:
    return np.asarray(values).astype(np.int32)
