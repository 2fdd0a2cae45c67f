"""Elementwise ops of f32."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stepdown.dialects.types import storage_of
from stepdown.native.kernels import functions as of
from stepdown.native.kernels import wide
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import activated
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.kernels.functions import Let, real
from stepdown.native.tir import Expr, bits, cast, largest, select, smallest

Function = Callable[[Let, Any, Sequence[Expr]], Expr]


def exponential(x: Expr) -> Expr:
    """Return e^x as f32, within 2 units in the last place; 0 below −87, kept below e^88.

    x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by its Taylor polynomial of degree 7, 2^n put into the exponent.
    """
    kept = of.kept(x, -87.0, 88.0)
    n = bits("int32", kept * real(1.4426950408889634) + real(12582912.0)) - 0x4B400000
    whole = cast("float32", n)
    rest = kept - whole * real(0.693359375) - whole * real(-2.12194440e-4)
    total: Expr = real(1 / 5040)
    for factor in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
        total = total * rest + real(factor)
    return select(x < real(-87.0), real(0.0), total * bits("float32", (n + 127) << 23))


def _clip(op: Any, x: Expr) -> Expr:
    return smallest(real(op.max), largest(real(op.min), x))


def _logistic(x: Expr) -> Expr:
    return real(1.0) / (real(1.0) + exponential(real(0.0) - x))


def _leaky(op: Any, x: Expr) -> Expr:
    return select(x < real(0.0), x * real(op.alpha), x)


def _celu(let: Let, op: Any, x: Expr) -> Expr:
    below = real(op.alpha) * of.expm1(let, let(x / real(op.alpha)))
    return largest(real(0.0), x) + smallest(real(0.0), let(below))


def _elu(let: Let, op: Any, x: Expr) -> Expr:
    """Return max(x, 0) + alpha·(e^min(x, 0) − 1)."""
    return largest(real(0.0), x) + real(op.alpha) * of.expm1(let, let(smallest(real(0.0), x)))


def _gelu(let: Let, op: Any, x: Expr) -> Expr:
    if op.approximate == "none":
        rise = of.erf(let, let(x * real(math.sqrt(0.5))))
    else:
        rise = of.tanh(let, let((x * x * real(0.044715) + real(1.0)) * x * real(math.sqrt(2 / math.pi))))
    return (rise + real(1.0)) * x * real(0.5)


def _mish(let: Let, x: Expr) -> Expr:
    """Return x·n / (n + 2) of n = (1 + e^x)² − 1; from x = 20 on the quotient is 1."""
    e = let(of.exp(let, let(smallest(real(20.0), x))))
    n = let(e * (e + real(2.0)))
    return x * (n / (n + real(2.0)))


def _shrink(op: Any, x: Expr) -> Expr:
    above = select(x > real(op.lambd), x - real(op.bias), real(0.0))
    return select(x < real(-op.lambd), x + real(op.bias), above)


def _sign(x: Expr) -> Expr:
    side = select(x > real(0.0), real(1.0), select(x < real(0.0), real(-1.0), x))
    return select(x.equal(real(0.0)), real(0.0), side)


_POWERS: dict[float, Callable[[Let, Expr], Expr]] = {
    0.0: lambda let, x: real(1.0),
    1.0: lambda let, x: x,
    2.0: lambda let, x: x * x,
    3.0: lambda let, x: x * x * x,
    0.5: of.sqrt,
    -1.0: lambda let, x: real(1.0) / x,
}
"""Powers that are simpler than the logarithm, by their exponent."""


def _power(let: Let, op: Any, x: Expr) -> Expr:
    known = _POWERS.get(op.exponent)
    return known(let, x) if known else wide.power(let, x, real(op.exponent))


def _modulo(let: Let, op: Any, a: Expr, b: Expr) -> Expr:
    return (wide.remainder if op.fmod else wide.modulo)(let, a, b)


FUNCTIONS: dict[str, Function] = {
    "Add": lambda let, op, x: activated(op, _folded(_sum, x)),
    "Sub": lambda let, op, x: activated(op, x[0] - x[1]),
    "Mul": lambda let, op, x: activated(op, x[0] * x[1]),
    "Div": lambda let, op, x: x[0] / x[1],
    "Max": lambda let, op, x: activated(op, _folded(_pick(largest), x)),
    "Min": lambda let, op, x: activated(op, _folded(_pick(smallest), x)),
    "SquaredDifference": lambda let, op, x: of.squared_difference(let, x[0], x[1]),
    "Pow": lambda let, op, x: wide.power(let, x[0], x[1]),
    "Mod": lambda let, op, x: _modulo(let, op, x[0], x[1]),
    "PowScalar": lambda let, op, x: _power(let, op, x[0]),
    "Relu": lambda let, op, x: of.kept(x[0], 0.0, op.relu_limit if op.relu_limit >= 0 else math.inf),
    "Clip": lambda let, op, x: _clip(op, x[0]),
    "LeakyRelu": lambda let, op, x: _leaky(op, x[0]),
    "PRelu": lambda let, op, x: select(x[0] < real(0.0), x[0] * x[1], x[0]),
    "ThresholdedRelu": lambda let, op, x: select(x[0] > real(op.alpha), x[0], real(0.0)),
    "Shrink": lambda let, op, x: _shrink(op, x[0]),
    "Sigmoid": lambda let, op, x: _logistic(x[0]),
    "Swish": lambda let, op, x: x[0] * _logistic(x[0] * real(op.alpha)),
    "HardSigmoid": lambda let, op, x: of.kept(x[0] * real(op.alpha) + real(op.beta), 0.0, 1.0),
    "HardSwish": lambda let, op, x: x[0] * of.kept(x[0] + real(3.0), 0.0, 6.0) / real(6.0),
    "Celu": lambda let, op, x: _celu(let, op, x[0]),
    "Elu": lambda let, op, x: _elu(let, op, x[0]),
    "Selu": lambda let, op, x: _elu(let, op, x[0]) * real(op.gamma),
    "Gelu": lambda let, op, x: _gelu(let, op, x[0]),
    "Mish": lambda let, op, x: _mish(let, x[0]),
    "Softsign": lambda let, op, x: x[0] / (real(1.0) + of.magnitude(x[0])),
    "Abs": lambda let, op, x: of.magnitude(x[0]),
    "Neg": lambda let, op, x: of.negative(x[0]),
    "Reciprocal": lambda let, op, x: real(1.0) / x[0],
    "Sign": lambda let, op, x: _sign(x[0]),
}
"""By op, its f32 result from the op and the operands."""

_NAMED: dict[str, Callable[[Let, Expr], Expr]] = {
    "Acos": of.acos, "Acosh": of.acosh, "Asin": of.asin, "Asinh": of.asinh, "Atan": of.atan, "Atanh": of.atanh,
    "Ceil": of.ceil, "Cosh": of.cosh, "Erf": of.erf, "Exp": of.exp, "Floor": of.floor, "Log": of.log,
    "Round": of.nearest, "Sinh": of.sinh, "Softplus": of.softplus, "Sqrt": of.sqrt, "Tanh": of.tanh,
}  # fmt: skip
"""Functions of one number without options."""


def _of_one(function: Callable[[Let, Expr], Expr]) -> Function:
    return lambda let, op, x: function(let, x[0])


FUNCTIONS |= {name: _of_one(function) for name, function in _NAMED.items()}


def _pick(pick: Callable[[Expr, Expr], Expr]) -> Callable[[Expr, Expr], Expr]:
    """Return the larger or smaller value, NaN where one is: of two unordered values the second is picked."""
    return lambda a, b: select(of.is_nan(a), a, pick(a, b))


def _sum(a: Expr, b: Expr) -> Expr:
    return a + b


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
        self.check_types()
        self._function = FUNCTIONS[type(self.op).__name__]

    def check_types(self) -> None:
        """Refuse what is not all of f32."""
        if any(storage_of(v) != "f32" for v in (*self.op.operands, *self.op.results)):
            raise self.is_not_of("f32")

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the function of the operands."""
        return self._function(self.once, self.op, values)


_ANGLES = {"Sin": wide.sin, "Cos": wide.cos, "Tan": wide.tan}


@kernel(*_ANGLES)
class Angle(FloatElementwise):
    """A function of an angle, with a table of where powers of two are in the circle."""

    def check(self) -> None:
        """Refuse other types."""
        self.check_types()
        self._angle = _ANGLES[type(self.op).__name__]

    def constants(self) -> dict[str, np.ndarray]:
        """Return the table."""
        return wide.angles()

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the function of the operand."""
        return self._angle(self.once, values[0], constants)
