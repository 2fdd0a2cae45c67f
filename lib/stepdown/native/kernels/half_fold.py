"""Pools, reductions and softmax of f16 and bf16: computed wide, rounded once."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.types import shape_of, storage_of
from stepdown.native.halves import HALVES, Half, half_of
from stepdown.native.kernels.base import Buffers, Kernel, kernel
from stepdown.native.kernels.floating import exponential
from stepdown.native.kernels.pool import Pool
from stepdown.native.kernels.reduce import Reduction
from stepdown.native.kernels.softmax import Rows, fold
from stepdown.native.tir import Expr, Function, bits, cast, const, largest, select, smallest

_WIDE = "float64"
_LEAST_EXPONENT = -700.0
_MAGIC, _MAGIC_BITS = 1.5 * 2.0**52, 0x4338000000000000
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_DEGREE = 13


def exact_exponential(f: Function, x: Expr) -> Expr:
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


class OfHalves(Kernel):
    """Folds of elements of f16 or bf16; mixed in front of a fold."""

    types: ClassVar[tuple[str, ...]] = HALVES

    @property
    def half(self) -> Half:
        """How the elements are computed with."""
        return half_of(storage_of(self.op.operands[0]), self.machine)

    @property
    def sum_type(self) -> str:
        """The wide type."""
        return self.machine.half_sums


class HalfPool(OfHalves, Pool):  # type: ignore[override]
    """A pool of f16 or bf16."""


@kernel("MaxPool")
class HalfMaxPooling(HalfPool):
    """The largest of each window."""

    def start(self) -> Expr:
        """Return −∞."""
        return const(-math.inf, self.sum_type)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the larger."""
        return largest(total, self.half.opened(value))

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return it."""
        return self.half.closed(total)


@kernel("AveragePool")
class HalfAveragePooling(HalfPool):
    """The mean of each window."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return the counts."""
        counts = self.op.counts(shape_of(self.op.operands[0]))  # type: ignore[attr-defined]
        return {"count": np.asarray(counts).astype(self.sum_type).ravel()}

    def start(self) -> Expr:
        """Return 0."""
        return const(0.0, self.sum_type)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum."""
        return total + self.half.opened(value)

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return the mean."""
        return self.half.closed(total / constants["count"][position])


_COMBINED: dict[str, tuple[float, Callable[[Any, Any], Expr]]] = {
    "ReduceSum": (0.0, lambda a, b: a + b),
    "ReduceMean": (0.0, lambda a, b: a + b),
    "ReduceMax": (-math.inf, largest),
    "ReduceMin": (math.inf, smallest),
}
"""By op, the fold of nothing, and how one more element is taken."""


@kernel(*_COMBINED)
class HalfReduction(OfHalves, Reduction):  # type: ignore[override]
    """A reduction of f16 or bf16."""

    def prepare(self) -> None:
        """Choose the fold."""
        self._name = type(self.op).__name__
        self._first, self._combine = _COMBINED[self._name]

    def start(self) -> Expr:
        """Return the fold of nothing."""
        return const(self._first, self.sum_type)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the fold with one more element."""
        return self._combine(total, self.half.opened(value))

    def result(self, total: Expr) -> Expr:
        """Return it, or the mean, rounded."""
        made = total / const(float(self.count), self.sum_type) if self._name == "ReduceMean" else total
        return self.half.closed(made)


@kernel("Softmax")
class HalfSoftmax(Rows):
    """e^(x − max) / Σ."""

    def check(self) -> None:
        """Refuse other types."""
        kinds = {storage_of(v) for v in (self.op.operands[0], self.op.results[0])}
        if len(kinds) > 1 or not kinds < set(HALVES):
            raise self.is_not_of("f16 or bf16")

    @property
    def scratch(self) -> tuple[str, int]:
        """The powers of a row."""
        return self.machine.half_sums, self.extent()[0]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over rows."""
        self._powers = constants["scratch"]
        super().write(f, inputs, results, constants)

    def row(self, f: Function, x: Any, y: Any, first: Expr, size: int, step: int) -> None:
        """Write the largest, the powers and their sum, the quotients."""
        half, powers = half_of(self.results[0].type, self.machine), self._powers
        wide = half.wide

        def value(k: Expr) -> Expr:
            return half.opened(x[first + k * step])

        top = fold(f, wide, const(-math.inf, wide), size, lambda t, k: largest(t, value(k)))
        with f.loop(size) as k:
            difference = f.let(value(k) - top)
            power = exponential(difference) if wide == "float32" else exact_exponential(f, difference)
            f.store(powers, k, power)
        total = fold(f, wide, const(0.0, wide), size, lambda t, k: t + powers[k])
        with f.loop(size) as k:
            f.store(y, first + k * step, half.closed(f.let(powers[k] / total)))
