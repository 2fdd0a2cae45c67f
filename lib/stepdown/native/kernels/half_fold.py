"""Pools, reductions and softmax of f16 and bf16: in float64, rounded once."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.types import shape_of, storage_of
from stepdown.native.halves import HALVES, rounded, widened
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.pool import Pool
from stepdown.native.kernels.reduce import Reduction
from stepdown.native.kernels.softmax import Rows, fold
from stepdown.native.tir import Expr, Function, bits, cast, const, largest, select, smallest

_WIDE = "float64"
_LEAST_EXPONENT = -700.0
_MAGIC, _MAGIC_BITS = 1.5 * 2.0**52, 0x4338000000000000
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_DEGREE = 13


def exponential(f: Function, x: Expr) -> Expr:
    """Return e^x of a float64 ≤ 0, within 2 units in the last place; 0 below −700.

    x = n·ln 2 + r with |r| ≤ ln 2 / 2, ln 2 in two parts; e^r by its Taylor polynomial of degree 13.
    """
    kept = f.let(largest(x, const(_LEAST_EXPONENT, _WIDE)))
    n = f.let(
        bits("int64", kept * const(math.log2(math.e), _WIDE) + const(_MAGIC, _WIDE)) - const(_MAGIC_BITS, "int64")
    )
    whole = f.let(cast(_WIDE, n))
    rest = f.let(kept - whole * const(_LOG2_HIGH, _WIDE) - whole * const(_LOG2_LOW, _WIDE))
    total: Expr = const(1 / math.factorial(_DEGREE), _WIDE)
    for degree in reversed(range(_DEGREE)):
        total = total * rest + const(1 / math.factorial(degree), _WIDE)
    power = bits(_WIDE, (n + const(1023, "int64")) << const(52, "int64"))
    return select(x < const(_LEAST_EXPONENT, _WIDE), const(0.0, _WIDE), total * power)


class HalfPool(Pool):
    """A pool in float64."""

    types: ClassVar[tuple[str, ...]] = HALVES
    sum_type = _WIDE

    def opened(self, value: Expr) -> Expr:
        """Return an element as float64."""
        return cast(_WIDE, widened(value, storage_of(self.op.operands[0])))

    def closed(self, value: Expr) -> Expr:
        """Return what is stored of a result."""
        return rounded(value, storage_of(self.op.results[0]))


@kernel("MaxPool")
class HalfMaxPooling(HalfPool):
    """The largest of each window."""

    def start(self) -> Expr:
        """Return −∞."""
        return const(-math.inf, _WIDE)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the larger."""
        return largest(total, self.opened(value))

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return it."""
        return self.closed(total)


@kernel("AveragePool")
class HalfAveragePooling(HalfPool):
    """The mean of each window."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return the counts."""
        counts = self.op.counts(shape_of(self.op.operands[0]))  # type: ignore[attr-defined]
        return {"count": np.asarray(counts).astype(np.float64).ravel()}

    def start(self) -> Expr:
        """Return 0."""
        return const(0.0, _WIDE)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum."""
        return total + self.opened(value)

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return the mean."""
        return self.closed(total / constants["count"][position])


_COMBINED: dict[str, tuple[float, Callable[[Any, Any], Expr]]] = {
    "ReduceSum": (0.0, lambda a, b: a + b),
    "ReduceMean": (0.0, lambda a, b: a + b),
    "ReduceMax": (-math.inf, largest),
    "ReduceMin": (math.inf, smallest),
}
"""By op, the fold of nothing, and how one more element is taken."""


@kernel(*_COMBINED)
class HalfReduction(Reduction):
    """A reduction in float64."""

    types: ClassVar[tuple[str, ...]] = HALVES
    sum_type = _WIDE

    def prepare(self) -> None:
        """Choose the fold."""
        self._name = type(self.op).__name__
        self._first, self._combine = _COMBINED[self._name]

    def start(self) -> Expr:
        """Return the fold of nothing."""
        return const(self._first, _WIDE)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the fold with one more element."""
        return self._combine(total, cast(_WIDE, widened(value, self.tensors[0].type)))

    def result(self, total: Expr) -> Expr:
        """Return it, or the mean, rounded."""
        made = total / const(float(self.count), _WIDE) if self._name == "ReduceMean" else total
        return rounded(made, self.results[0].type)


@kernel("Softmax")
class HalfSoftmax(Rows):
    """e^(x − max) / Σ."""

    def check(self) -> None:
        """Refuse other types."""
        kinds = {storage_of(v) for v in (self.op.operands[0], self.op.results[0])}
        if len(kinds) > 1 or not kinds < set(HALVES):
            raise self.refuse("is not of f16 or bf16")

    @property
    def scratch(self) -> tuple[str, int]:
        """The powers of a row."""
        return _WIDE, self.extent()[0]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over rows."""
        self._powers = constants["scratch"]
        super().write(f, inputs, results, constants)

    def row(self, f: Function, x: Any, y: Any, first: Expr, size: int, step: int) -> None:
        """Write the largest, the powers and their sum, the quotients."""
        kind, powers = self.results[0].type, self._powers

        def value(k: Expr) -> Expr:
            return cast(_WIDE, widened(x[first + k * step], kind))

        top = fold(f, _WIDE, const(-math.inf, _WIDE), size, lambda t, k: largest(t, value(k)))
        with f.loop(size) as k:
            f.store(powers, k, exponential(f, f.let(value(k) - top)))
        total = fold(f, _WIDE, const(0.0, _WIDE), size, lambda t, k: t + powers[k])
        with f.loop(size) as k:
            f.store(y, first + k * step, rounded(f.let(powers[k] / total), kind))
