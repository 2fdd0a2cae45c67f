"""Functions of f32 that need f64 inside: powers, remainders, and the place of an angle in its circle.

They keep the rules of `functions`: within 4 units in the last place over the whole range, no library is called.
"""

from collections.abc import Mapping
from decimal import Decimal, localcontext
from math import inf, nan
from typing import Any

import numpy as np

from stepdown.native.kernels import functions as of
from stepdown.native.kernels.functions import Let, real
from stepdown.native.tir import Expr, bits, cast, const, largest, select, smallest

_NEAREST, _NEAREST_BITS = 1.5 * 2.0**52, 0x4338000000000000
_ONE, _ROOT_HALF, _FRACTION = 0x3FF0000000000000, 0x3FE6A09E667F3BCD, (1 << 52) - 1
_LN2 = 0.6931471805599453
_TAYLOR = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)
_STEP, _STEPS = 28, 10
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
_HALF_PI = 1.570796325802803, 9.920935796805404e-10
"""π/2 as a multiple of 2⁻²⁶, and what is left of it."""
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def wide(value: float) -> Expr:
    """Return a f64 constant."""
    return const(value, "float64")


def _whole(let: Let, x: Expr) -> tuple[Expr, Expr]:
    """Return the nearest integer to a f64 below 2^51, as f64, and with more above its low bits as int64."""
    moved = let(bits("int64", x + wide(_NEAREST)))
    return let(bits("float64", moved) - wide(_NEAREST)), moved


# --- powers


def power(let: Let, x: Expr, y: Expr) -> Expr:
    """Return x^y, as C's pow: e^(y · ln |x|) with the logarithm and the product in f64."""
    size = let(of.magnitude(x))
    raised = _exponential(let, let(cast("float64", y) * _logarithm(let, size)))
    known = let(select(y.equal(real(0.0)) | size.equal(real(1.0)), real(1.0), raised))
    half = let(y * real(0.5))
    whole, even = of.nearest(let, y).equal(y), of.nearest(let, half).equal(half)
    of_any = select(size.equal(real(0.0)) | of.is_infinite(x), known, real(nan))
    below = select(whole, select(even, known, of.negative(known)), of_any)
    return select((of.raw(x) < const(0)) & ~of.is_nan(x), let(below), known)


def _logarithm(let: Let, size: Expr) -> Expr:
    """Return ln of |x| in f64, within 1e-13: 2·artanh s by its series, s = f / (2 + f) (see `functions`)."""
    moved = let(bits("int64", cast("float64", size)) + const(_ONE - _ROOT_HALF, "int64"))
    exponent = cast("float64", cast("int32", moved >> const(52, "int64")) - const(1023))
    f = let(bits("float64", (moved & const(_FRACTION, "int64")) + const(_ROOT_HALF, "int64")) - wide(1.0))
    s = let(f / (f + wide(2.0)))
    z = let(s * s)
    series: Expr = wide(1 / 15)
    for odd in (13, 11, 9, 7, 5, 3, 1):
        series = series * z + wide(1 / odd)
    value = exponent * wide(_LN2) + (s + s) * series
    return let(select(size > real(0.0), select(of.is_infinite(size), wide(inf), value), _below(size)))


def _below(size: Expr) -> Expr:
    """Return the logarithm of 0, −∞, and NaN of NaN."""
    return select(size.equal(real(0.0)), wide(-inf), wide(nan))


def _exponential(let: Let, x: Expr) -> Expr:
    """Return e^x of a f64 as f32: reduced in f64, then as `functions.exp`."""
    kept = let(largest(wide(-110.0), smallest(wide(100.0), x)))
    whole, moved = _whole(let, let(kept * wide(1 / _LN2)))
    n = let(cast("int32", moved - const(_NEAREST_BITS, "int64")))
    r = let(cast("float32", kept - whole * wide(_LN2)))
    half = let(n >> 1)
    return of.polynomial(r, _TAYLOR) * of.power_of_two(half) * of.power_of_two(n - half)


# --- remainders


def remainder(let: Let, a: Expr, b: Expr) -> Expr:
    """Return a − n·b with the sign of a, exactly, as C's fmod.

    n may have 278 bits: of |a| the nearest multiple of |b| · 2^(28·j) is taken away for j = 9 … 0, each time one of at
    most 26 bits, so that its product with |b| and the difference are exact in f64.
    """
    return of.signed(_rest(let, a, b), a)


def modulo(let: Let, a: Expr, b: Expr) -> Expr:
    """Return a − n·b with the sign of b, as Python's %."""
    rest = let(_rest(let, a, b))
    opposite = ((of.raw(a) ^ of.raw(b)) < const(0)) & (rest > real(0.0))
    return of.signed(let(select(opposite, of.magnitude(b) - rest, rest)), b)


def _rest(let: Let, a: Expr, b: Expr) -> Expr:
    size, divisor = let(cast("float64", of.magnitude(a))), let(cast("float64", of.magnitude(b)))
    inverse, rest = let(wide(1.0) / divisor), size
    for j in reversed(range(_STEPS)):
        times, _ = _whole(let, rest * inverse * wide(2.0 ** (-_STEP * j)))
        rest = let(rest - times * (divisor * wide(2.0 ** (_STEP * j))))
    known = select(rest < wide(0.0), rest + divisor, rest)
    return let(cast("float32", select(of.is_infinite(b) & ~of.is_infinite(a), size, known)))


# --- angles


def angles() -> dict[str, np.ndarray]:
    """Return 2^e modulo 2π for e = 0 … 104, between −π and π: multiples of 2⁻²⁶, and what is left of them."""
    with localcontext() as context:
        context.prec = 100
        turns = [Decimal(2) ** e / (2 * _PI) for e in range(105)]
        angle = [(t - t.to_integral_value()) * 2 * _PI for t in turns]
        high = [float(np.rint(float(a) * 2.0**26)) / 2.0**26 for a in angle]
        low = [float(a - Decimal(h)) for a, h in zip(angle, high, strict=True)]
        return {"high": np.array(high), "low": np.array(low)}


def quarters(let: Let, x: Expr, table: Mapping[str, Any]) -> tuple[Expr, Expr]:
    """Return n modulo 4 as int32 and r as f32, of |x| = n · π/2 + r, |r| ≤ π/4.

    From 2^24 on, |x| = m · 2^e with an integer m below 2^24, and 2^e is replaced by its place in the circle. Both
    products with the upper parts, and their difference, are exact (Cody & Waite 1980).
    """
    number = let(of.raw(x) & const(0x7FFFFFFF))
    at = let(largest(smallest((number >> 23) - const(150), const(104)), const(0)))
    mantissa = let(cast("float64", (number & const(0x7FFFFF)) | const(0x800000)))
    far = number >= const(150 << 23)
    high = let(select(far, mantissa * table["high"][at], cast("float64", bits("float32", number))))
    low = let(select(far, mantissa * table["low"][at], wide(0.0)))
    whole, moved = _whole(let, let(high * wide(2 / float(_PI))))
    rest = (high - whole * wide(_HALF_PI[0])) + (low - whole * wide(_HALF_PI[1]))
    known = select(number < const(0x7F800000), cast("float32", rest), real(nan))
    return let(cast("int32", moved & const(3, "int64"))), let(known)


def sine(let: Let, n: Expr, r: Expr) -> Expr:
    """Return sin(n · π/2 + r), |r| ≤ π/4. Source of the polynomials: Cephes, sinf.c."""
    z = let(r * r)
    along = let(of.polynomial(z, _SINE) * z * r + r)
    across = let(of.polynomial(z, _COSINE) * z * z - z * real(0.5) + real(1.0))
    value = let(select((n & const(1)).equal(const(0)), along, across))
    return bits("float32", of.raw(value) ^ ((n & const(2)) << 30))


def sin(let: Let, x: Expr, table: Mapping[str, Any]) -> Expr:
    """Return sin x."""
    n, r = quarters(let, x, table)
    return bits("float32", of.raw(let(sine(let, n, r))) ^ (of.raw(x) & const(of.SIGN)))


def cos(let: Let, x: Expr, table: Mapping[str, Any]) -> Expr:
    """Return cos x."""
    n, r = quarters(let, x, table)
    return sine(let, let(n + const(1)), r)


def tan(let: Let, x: Expr, table: Mapping[str, Any]) -> Expr:
    """Return sin x / cos x."""
    n, r = quarters(let, x, table)
    quotient = let(sine(let, n, r) / sine(let, let(n + const(1)), r))
    return bits("float32", of.raw(quotient) ^ (of.raw(x) & const(of.SIGN)))
