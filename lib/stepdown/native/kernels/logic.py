"""Comparisons, bits and truth values; what is true is stored as 1."""

from collections.abc import Callable, Sequence
from typing import Any

from stepdown.native.halves import REALS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import is_infinite, is_nan, raw
from stepdown.native.kernels.typed import Typed
from stepdown.native.tensors import BYTES, DTYPES
from stepdown.native.tir import Expr, cast, const, select, smallest

_COMPARISONS: dict[str, Callable[[Any, Any], Expr]] = {
    "Equal": lambda a, b: a.equal(b),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
}
_BITWISE: dict[str, Callable[[Any, Any], Expr]] = {
    "And": lambda a, b: a & b,
    "Or": lambda a, b: a | b,
    "Xor": lambda a, b: a ^ b,
}


def truth(condition: Expr) -> Expr:
    """Return a condition as it is stored."""
    return select(condition, const(1, "int8"), const(0, "int8"))


@kernel("Compare")
class Comparison(Typed):
    """A relation of two operands of one type, or both real."""

    def refused(self) -> str:
        """Refuse integers beside others: numpy would compare them as f64."""
        mixed = len(set(self.kinds)) > 1 and not all(kind in REALS for kind in self.kinds)
        return f"compares {' with '.join(self.kinds)}" if mixed else ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the truth value."""
        a, b = self.reals(values)
        return truth(_COMPARISONS[self.op.mode](a, b))  # type: ignore[attr-defined]


@kernel("Bitwise")
class Bits(Typed):
    """And, or, exclusive or."""

    def refused(self) -> str:
        """Refuse operands of two types."""
        return f"is of {' and '.join(self.kinds)}" if len(set(self.kinds)) > 1 else ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the combined bits."""
        return _BITWISE[self.op.mode](*values)  # type: ignore[attr-defined]


@kernel("Not")
class Opposite(Typed):
    """All bits inverted, or the one of a truth value."""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the inverted bits."""
        kind = self.kinds[0]
        if kind == "i1":
            ones = 1
        else:
            ones = (1 << 8 * BYTES[kind]) - 1 if kind[0] == "u" else -1
        return values[0] ^ const(ones, DTYPES[kind])


@kernel("BitShift")
class Shift(Typed):
    """Bits shifted, computed in 64 bits; where the shift is by the width or more, none are left."""

    def refused(self) -> str:
        """Refuse operands of two types."""
        return f"shifts {self.kinds[0]} by {self.kinds[1]}" if len(set(self.kinds)) > 1 else ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the shifted bits; a right shift leaves the sign."""
        kind = self.kinds[0]
        wide, width = ("uint64" if kind == "u64" else "int64"), 8 * BYTES[kind]
        bits, count = (cast(wide, v) for v in values)
        kept = smallest(count, const(width - 1, wide))
        if self.op.direction == "LEFT":  # type: ignore[attr-defined]
            shifted = select(count >= const(width, wide), const(0, wide), bits << kept)
        else:
            rest = bits >> kept
            shifted = select(count >= const(width, wide), const(0, wide), rest) if kind[0] == "u" else rest
        return cast(DTYPES[kind], shifted)


class Predicate(Typed):
    """A property of a real number: give `holds`."""

    def refused(self) -> str:
        """Refuse f64."""
        return "" if self.kinds[0] in REALS else f"is of {self.kinds[0]}"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the truth value."""
        return truth(self.holds(self.opened(values[0], 0)))

    def holds(self, x: Expr) -> Expr:
        """Return whether the property holds."""
        raise NotImplementedError


@kernel("IsNaN")
class NoNumber(Predicate):
    """Whether x is NaN."""

    def holds(self, x: Expr) -> Expr:
        """Return whether x is NaN."""
        return is_nan(x)


@kernel("IsInf")
class Infinite(Predicate):
    """Whether x is infinite, of the signs asked for."""

    def holds(self, x: Expr) -> Expr:
        """Return whether x is infinite and has one of the signs."""
        op: Any = self.op
        if op.detect_negative and op.detect_positive:
            return is_infinite(x)
        if not (op.detect_negative or op.detect_positive):
            return const(0) > const(0)
        below = raw(x) < const(0)
        return is_infinite(x) & (below if op.detect_negative else ~below)


@kernel("Where")
class Choice(Typed):
    """One of two operands by a truth value."""

    def refused(self) -> str:
        """Refuse integers beside others."""
        kinds = [*self.kinds[1:], self.made]
        mixed = len(set(kinds)) > 1 and not all(kind in REALS for kind in kinds)
        return f"chooses between {' and '.join(self.kinds[1:])}" if mixed else ""

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the chosen operand; of one type it is moved as it is stored."""
        holds = values[0].equal(const(1, "int8"))
        if len({*self.kinds[1:], self.made}) == 1:
            return select(holds, values[1], values[2])
        return self.closed(select(holds, self.opened(values[1], 1), self.opened(values[2], 2)))
