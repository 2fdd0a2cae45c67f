"""Elementwise ops of f32."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from stepdown.dialects.types import storage_of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import activated
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tir import Expr, bits, cast, clamp, const, largest, select, smallest

Function = Callable[[Any, Sequence[Expr]], Expr]


def real(value: float) -> Expr:
    """Return a f32 constant."""
    return const(value, "float32")


def exponential(x: Expr) -> Expr:
    """Return e^x as f32, within 2 units in the last place; 0 below −87, kept below e^88.

    x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by its Taylor polynomial of degree 7, 2^n put into the exponent.
    """
    kept = clamp(x, -87.0, 88.0, "float32")
    n = bits("int32", kept * real(1.4426950408889634) + real(12582912.0)) - 0x4B400000
    whole = cast("float32", n)
    rest = kept - whole * real(0.693359375) - whole * real(-2.12194440e-4)
    total: Expr = real(1 / 5040)
    for factor in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        total = total * rest + real(factor)
    return select(x < real(-87.0), real(0.0), total * bits("float32", (n + 127) << 23))


def square_root(x: Expr, let: Callable[[Expr], Expr] = lambda value: value) -> Expr:
    """Return √x as f32, within 1 unit in the last place; NaN below 0.

    1 / √x by three Newton steps from the bits of x (C. Lomont, "Fast inverse square root", 2003), then one step of
    Heron's for √x itself; a number too small for the bits is lifted by 2^48. No library and no instruction is needed.
    """
    small = x < real(2.0**-100)
    lifted = let(select(small, x * real(2.0**48), x))
    inverse = bits("float32", const(0x5F375A86) - (bits("int32", lifted) >> 1))
    half = let(lifted * real(0.5))
    for _ in range(3):
        inverse = let(inverse * (real(1.5) - half * inverse * inverse))
    root = let(lifted * inverse)
    nearer = let(root + real(0.5) * inverse * (lifted - root * root))
    between = (x > real(0.0)) & (x < real(math.inf))
    positive = select(between, select(small, nearer * real(2.0**-24), nearer), x)
    return select(x < real(0.0), real(math.nan), positive)


def _clip(op: Any, x: Expr) -> Expr:
    return smallest(largest(x, real(op.min)), real(op.max))


def _logistic(x: Expr) -> Expr:
    return real(1.0) / (real(1.0) + exponential(real(0.0) - x))


def _leaky(op: Any, x: Expr) -> Expr:
    return select(x < real(0.0), x * real(op.alpha), x)


FUNCTIONS: dict[str, Function] = {
    "Add": lambda op, x: activated(op, x[0] + x[1]),
    "Sub": lambda op, x: activated(op, x[0] - x[1]),
    "Mul": lambda op, x: activated(op, x[0] * x[1]),
    "Div": lambda op, x: activated(op, x[0] / x[1]),
    "Max": lambda op, x: _folded(largest, x),
    "Min": lambda op, x: _folded(smallest, x),
    "Relu": lambda op, x: largest(x[0], real(0.0)) if op.limit < 0 else clamp(x[0], 0.0, op.limit, "float32"),
    "Clip": lambda op, x: _clip(op, x[0]),
    "LeakyRelu": lambda op, x: _leaky(op, x[0]),
    "PRelu": lambda op, x: select(x[0] < real(0.0), x[0] * x[1], x[0]),
    "Exp": lambda op, x: exponential(x[0]),
    "Sqrt": lambda op, x: square_root(x[0]),
    "Sigmoid": lambda op, x: _logistic(x[0]),
    "Swish": lambda op, x: x[0] * _logistic(x[0] * real(op.alpha)),
    "HardSigmoid": lambda op, x: clamp(x[0] * real(op.alpha) + real(op.beta), 0.0, 1.0, "float32"),
    "HardSwish": lambda op, x: x[0] * clamp(x[0] + real(3.0), 0.0, 6.0, "float32") / real(6.0),
}
"""By op, its f32 result from the op and the operands."""


def _folded(combine: Callable[[Expr, Expr], Expr], values: Sequence[Expr]) -> Expr:
    made = values[0]
    for value in values[1:]:
        made = combine(made, value)
    return made


@kernel(*FUNCTIONS)
class FloatElementwise(Elementwise):
    """A row of FUNCTIONS."""

    def check(self) -> None:
        """Refuse other types."""
        if any(storage_of(v) != "f32" for v in (*self.op.operands, *self.op.results)):
            raise self.refuse("is not of f32")
        self._function = FUNCTIONS[type(self.op).__name__]

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the function of the operands."""
        return self._function(self.op, values)
