"""Softmax of integers in fixed point, as TensorFlow Lite has it."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from stepdown.dialects.types import quant_of, shape_of
from stepdown.native.kernels.base import LOGICAL, Buffers, Kernel, kernel
from stepdown.native.tir import Expr, Function, cast, clamp, const, largest, select, smallest
from stepdown.numerics.tflite.fixed import INT32_MAX, INT32_MIN, exp_on_negative_values, input_radius, multiply

_INPUT_BITS, _SUM_BITS = 5, 12


class Rows(Kernel):
    """An op along one dimension: give `row`."""

    layout = LOGICAL

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over rows."""
        size, step = self.extent()
        outer = self.tensors[0].elements // (size * step)
        with f.shared(outer) as i, f.loop(step) as j:
            self.row(f, inputs[0], results[0], i * (size * step) + j, size, step)

    def extent(self) -> tuple[int, int]:
        """Return the elements of a row, and the distance from one to the next."""
        (tensor,) = self.tensors
        axis = self.op.axis % len(tensor.shape)  # type: ignore[attr-defined]
        if getattr(self.op, "flat", False):
            return tensor.elements // prod(tensor.shape[:axis]), 1
        return tensor.shape[axis], tensor.strides[axis]

    def row(self, f: Function, x: Any, y: Any, first: Expr, size: int, step: int) -> None:
        """Write the work on one row of `size` elements, `step` apart."""
        raise NotImplementedError


def fold(f: Function, dtype: str, start: Expr, size: int, combine: Any) -> Expr:
    """Write a fold over a row and return its value."""
    total = f.local(dtype, 1)
    f.store(total, 0, start)
    with f.loop(size) as k:
        f.store(total, 0, combine(total[0], k))
    return f.let(total[0])


@kernel("Softmax")
class IntegerSoftmax(Rows):
    """Softmax of stored integers in fixed point, as `numerics.tflite.softmax` defines it."""

    def check(self) -> None:
        """Refuse what is not of integers, or flattened."""
        if quant_of(self.op.operands[0]) is None or quant_of(self.op.results[0]) is None:
            raise self.is_not_of("integers")
        op: Any = self.op
        self._low = op.result_params.bounds[0]
        if shape_of(op.operands[0])[op.axis] >= 1 << _SUM_BITS:
            raise self.refuse("is over more than 4095 elements")

    def constants(self) -> dict[str, np.ndarray]:
        """Return e^−d as Q_0 for each distance d from the largest stored integer; 0 where it is too far."""
        op: Any = self.op
        near = np.arange(256) <= input_radius(_INPUT_BITS, op.lift)
        exponents = multiply(np.where(near, -np.arange(256), 0), op.multiplier, op.lift)
        return {"powers": np.where(near, exp_on_negative_values(exponents, _INPUT_BITS), -1).astype(np.int32)}

    def row(self, f: Function, x: Any, y: Any, first: Expr, size: int, step: int) -> None:
        """Write the largest, the sum of the powers, its reciprocal, the quotients."""
        powers = self._constants["powers"]

        def value(k: Expr) -> Expr:
            return cast("int32", x[first + k * step])

        top = fold(f, "int32", value(const(0)), size, lambda t, k: largest(t, value(k)))

        def power(k: Expr) -> Expr:
            return cast("int64", largest(powers[top - value(k)], const(0)))

        total = fold(f, "int64", _i64(0), size, lambda t, k: t + _divided(power(k), _i64(_SUM_BITS)))
        zeros = _leading_zeros(f, total)
        reciprocal = _one_over_one_plus(f, (total << zeros) - _i64(1 << 31))
        shift = f.let(_i64(_SUM_BITS + 31 - 8) - zeros)
        with f.loop(size) as k:
            quotient = _divided(f.let(_high(reciprocal, power(k))), shift) + _i64(self._low)
            stored = cast("int32", clamp(quotient, self._low, self._low + 255, "int64"))
            kept = select(powers[top - value(k)] >= 0, stored, const(self._low))
            f.store(y, first + k * step, cast(self.results[0].dtype, kept))

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over rows."""
        self._constants = constants
        super().write(f, inputs, results, constants)


# --- fixed point, as numerics.tflite.fixed has it, on int64


def _i64(value: int) -> Expr:
    return const(value, "int64")


def _high(a: Expr, b: Expr) -> Expr:
    """Return a·b / 2^31 rounded half up, saturated."""
    return smallest((a * b + _i64(1 << 30)) >> _i64(31), _i64(INT32_MAX))


def _divided(x: Expr, exponent: Expr) -> Expr:
    """Return x / 2^exponent rounded half away from zero, exponent ≥ 1."""
    return (x + ((_i64(1) << exponent) >> _i64(1)) + (x >> _i64(63))) >> exponent


def _lifted(x: Expr, exponent: int) -> Expr:
    """Return x · 2^exponent, saturated."""
    return clamp(x * _i64(1 << exponent), INT32_MIN, INT32_MAX, "int64")


def _leading_zeros(f: Function, total: Expr) -> Expr:
    """Return the leading zeros of 0 < total < 2^32 as uint32."""
    zeros = f.local("int64", 1)
    f.store(zeros, 0, _i64(0))
    for bit in (16, 8, 4, 2, 1):
        top = (total << zeros[0]) >> _i64(32 - bit)
        f.store(zeros, 0, zeros[0] + select(top > _i64(0), _i64(0), _i64(bit)))
    return f.let(zeros[0])


def _one_over_one_plus(f: Function, a: Expr) -> Expr:
    """Return 1 / (1 + a) as Q_0 for a in [0, 1] as Q_0, by three Newton steps."""
    half = f.let((a + _i64(INT32_MAX) + _i64(1)) >> _i64(1))  # of positive numbers, away from zero is up
    x = f.let(_i64(1515870810) + _high(half, _i64(-1010580540)))
    for _ in range(3):
        error = f.let(_i64(1 << 29) - _high(half, x))
        x = f.let(x + _lifted(_high(x, error), 2))
    return f.let(_lifted(x, 1))
