"""Arithmetic of plain integers, with numpy's results: what does not fit wraps, a quotient by 0 is 0."""

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf
from typing import Any

from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import Let, squared_difference
from stepdown.native.kernels.typed import INTEGERS, Typed
from stepdown.native.tensors import DTYPES
from stepdown.native.tir import Expr, cast, const, largest, select, smallest, tirx

_WIDE = {"i64": "int64", "u64": "uint64", "i32": "int64", "u32": "int64"}
_POWER_BITS = 63


def _zero(x: Expr) -> Expr:
    return const(0, str(x.ty))


def _one(x: Expr) -> Expr:
    return const(1, str(x.ty))


def _is_signed(x: Expr) -> bool:
    return str(x.ty).startswith("int")


def _divisor(b: Expr) -> Expr:
    """Return b where processors can divide by it: −1 is left out, too, as the least integer over it does not fit."""
    unfit = b.equal(_zero(b))
    if _is_signed(b):
        unfit = unfit | b.equal(const(-1, str(b.ty)))
    return select(unfit, _one(b), b)


def _quotient(let: Let, op: Any, a: Expr, b: Expr) -> Expr:
    """Return a / b, cut off."""
    quotient = let(tirx().truncdiv(a, let(_divisor(b))))
    if _is_signed(b):
        quotient = select(b.equal(const(-1, str(b.ty))), _zero(a) - a, quotient)
    return select(b.equal(_zero(b)), _zero(a), quotient)


def _remainder(let: Let, op: Any, a: Expr, b: Expr) -> Expr:
    """Return the remainder, with the sign of b, or with `fmod` that of a."""
    rest = let(tirx().truncmod(a, let(_divisor(b))))
    if op.fmod or not _is_signed(a):
        return rest
    zero = _zero(a)
    opposite = ((rest ^ b) < zero) & tirx().Not(rest.equal(zero)) & tirx().Not(b.equal(zero))
    return select(opposite, rest + b, rest)


def _power(let: Let, op: Any, a: Expr, b: Expr) -> Expr:
    """Return a^b by squaring; of an exponent below 0 the quotient 1 / a^|b|, cut off."""
    one, zero = _one(a), _zero(a)
    total, square = one, a
    for bit in range(_POWER_BITS):
        taken = ((b >> const(bit, str(b.ty))) & _one(b)).equal(_one(b))
        total = let(select(taken, total * square, total))
        square = let(square * square)
    if not _is_signed(b):
        return total
    odd = (b & _one(b)).equal(_one(b))
    unit = select(a.equal(one), one, select(a.equal(zero - one), select(odd, a, one), zero))
    return select(b < _zero(b), unit, total)


def _clip(let: Let, op: Any, x: Expr) -> Expr:
    for pick, bound in ((largest, op.min), (smallest, op.max)):
        x = pick(x, const(int(bound), str(x.ty))) if abs(bound) < inf else x
    return x


def _relu(let: Let, op: Any, x: Expr) -> Expr:
    above = largest(x, _zero(x))
    return smallest(above, const(int(op.relu_limit), str(x.ty))) if op.relu_limit >= 0 else above


def _absolute(let: Let, op: Any, x: Expr) -> Expr:
    return select(x < _zero(x), _zero(x) - x, x)


def _sign(let: Let, op: Any, x: Expr) -> Expr:
    below = const(-1, str(x.ty)) if _is_signed(x) else _zero(x)
    return select(x > _zero(x), _one(x), select(x < _zero(x), below, _zero(x)))


_FOLDS: dict[str, Callable[..., Expr]] = {
    "Add": lambda let, op, a, b: a + b,
    "Sub": lambda let, op, a, b: a - b,
    "Mul": lambda let, op, a, b: a * b,
    "Max": lambda let, op, a, b: largest(a, b),
    "Min": lambda let, op, a, b: smallest(a, b),
    "Div": _quotient,
    "Mod": _remainder,
    "Pow": _power,
    "SquaredDifference": lambda let, op, a, b: squared_difference(let, a, b),
}
_FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "Abs": _absolute,
    "Neg": lambda let, op, x: _zero(x) - x,
    "Sign": _sign,
    "Relu": _relu,
    "Clip": _clip,
}


@kernel(*_FOLDS, *_FUNCTIONS)
class IntegerArithmetic(Typed):
    """A function of one integer, or a fold of several of one type, computed in a wider type where there is one."""

    def refused(self) -> str:
        """Refuse reals, operands of several types, and bounds that are no integers."""
        if not set(self.kinds) | {self.made} <= set(INTEGERS) or len({*self.kinds, self.made}) > 1:
            raise self.is_not_of("integers of one type")
        bounds = [getattr(self.op, name, 0) for name in ("min", "max", "relu_limit")]
        return "" if all(abs(b) == inf or b == int(b) for b in bounds) else "has bounds that are no integers"

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the result, of which the low bits are kept, after a fused ReLU."""
        op: Any = self.op
        name, wide = type(op).__name__, _WIDE.get(self.made, "int32")
        operands = [self.once(cast(wide, value)) for value in values]
        if name in _FUNCTIONS:
            return cast(DTYPES[self.made], _FUNCTIONS[name](self.once, op, operands[0]))
        made = reduce(lambda a, b: self.once(_FOLDS[name](self.once, op, a, b)), operands)
        return cast(DTYPES[self.made], _relu(self.once, op, made) if getattr(op, "do_relu", False) else made)
