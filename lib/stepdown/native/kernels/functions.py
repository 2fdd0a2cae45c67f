"""Functions of a real number, in f32: no library is called, and all processors compute the same formulas.

Each takes `let`, which names a value that is used several times (`Function.once`), and is within 4 units in the last
place of the exact result (`erf`: 6) over the whole range of f32, numbers below 2⁻¹²⁶ among them. NaN and infinities
are as numpy has them. A processor that fuses a product and a sum rounds once less, so last bits may differ between
processors.

Sources: "msun" is FreeBSD's library of functions (Sun Microsystems 1993), "Cephes" that of S. L. Moshier (1989).
"""

from collections.abc import Callable, Sequence
from math import inf, nan

from stepdown.native.tir import Expr, bits, cast, const, largest, select, smallest
from stepdown.numerics.erf import SINGLE

Let = Callable[[Expr], Expr]

SIGN, MAGNITUDE = -(1 << 31), 0x7FFFFFFF
_INFINITY, _ONE, _ROOT_HALF = 0x7F800000, 0x3F800000, 0x3F3504F3
_LEAST_NORMAL = 2.0**-126
_WHOLE, _WHOLE_BITS = 2.0**23, 0x4B000000
_NEAREST, _NEAREST_BITS = 1.5 * 2.0**23, 0x4B400000
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_LN2, _PI = 0.6931471805599453, 3.141592653589793
_LARGE, _VAST = 2.0**32, 2.0**64
_TAYLOR = (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0)


def real(value: float) -> Expr:
    """Return a f32 constant."""
    return const(value, "float32")


def raw(x: Expr) -> Expr:
    """Return the bits of a f32 as int32."""
    return bits("int32", x)


def kept(x: Expr, low: float, high: float) -> Expr:
    """Return x between two bounds; NaN stays NaN, as of two unordered values the second is taken."""
    return largest(real(low), smallest(real(high), x))


def is_nan(x: Expr) -> Expr:
    """Tell whether x is no number."""
    return (raw(x) & const(MAGNITUDE)) > const(_INFINITY)


def is_infinite(x: Expr) -> Expr:
    """Tell whether x is +∞ or −∞."""
    return (raw(x) & const(MAGNITUDE)).equal(const(_INFINITY))


def magnitude(x: Expr) -> Expr:
    """Return |x|."""
    return bits("float32", raw(x) & const(MAGNITUDE))


def negative(x: Expr) -> Expr:
    """Return −x."""
    return bits("float32", raw(x) ^ const(SIGN))


def signed(size: Expr, like: Expr) -> Expr:
    """Return `size`, which is not negative, with the sign of `like`."""
    return bits("float32", raw(size) | (raw(like) & const(SIGN)))


def squared_difference(let: Let, a: Expr, b: Expr) -> Expr:
    """Return (a − b)², of integers, too."""
    difference = let(a - b)
    return difference * difference


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """Return the polynomial of x, the highest power first, by Horner's rule."""
    total: Expr = real(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + real(coefficient)
    return total


# --- integers


def nearest(let: Let, x: Expr) -> Expr:
    """Return the nearest integer, ties to even: of |x| + 2^23 the bits less those of 2^23, for |x| < 2^23."""
    size = let(magnitude(x))
    whole = cast("float32", raw(size + real(_WHOLE)) - const(_WHOLE_BITS))
    return let(select(size < real(_WHOLE), signed(whole, x), x))


def floor(let: Let, x: Expr) -> Expr:
    """Return the largest integer ≤ x."""
    whole = nearest(let, x)
    return select(whole > x, whole - real(1.0), whole)


def ceil(let: Let, x: Expr) -> Expr:
    """Return the smallest integer ≥ x; −0 between −1 and 0."""
    return negative(floor(let, let(negative(x))))


def truncated(let: Let, x: Expr) -> Expr:
    """Return x without its fraction."""
    return signed(floor(let, let(magnitude(x))), x)


# --- roots, logarithms


def sqrt(let: Let, x: Expr) -> Expr:
    """Return √x: 1/√x by three Newton steps from its bits, then one for √x; what is far from 1 is scaled by 2^±60."""
    small, large = x < real(2.0**-60), x > real(2.0**60)
    scaled = let(x * select(small, real(2.0**60), select(large, real(2.0**-60), real(1.0))))
    half = let(scaled * real(0.5))
    inverse = let(bits("float32", const(0x5F375A86) - (raw(scaled) >> 1)))
    for _ in range(3):
        inverse = let(inverse * (real(1.5) - half * inverse * inverse))
    root = let(scaled * inverse)
    root = root + (scaled - root * root) * inverse * real(0.5)
    back = root * select(small, real(2.0**-30), select(large, real(2.0**30), real(1.0)))
    return _of_positive(x, let(back), x)


def log(let: Let, x: Expr) -> Expr:
    """Return the natural logarithm."""
    small = x < real(_LEAST_NORMAL)
    scaled = let(select(small, x * real(_WHOLE), x))
    return _of_positive(x, _logarithm(let, scaled, select(small, const(-23), const(0)), real(0.0)), real(-inf))


def log1p(let: Let, x: Expr) -> Expr:
    """Return ln(1 + x); what 1 + x rounds away is made good by its first order. Source: msun, s_log1pf.c."""
    sum_ = let(bits("float32", raw(x + real(1.0))))
    rest = (x - (sum_ - real(1.0))) / sum_
    return _of_positive(sum_, _logarithm(let, sum_, const(0), rest), real(-inf))


def _logarithm(let: Let, x: Expr, exponent: Expr, rest: Expr) -> Expr:
    """Return ln x + exponent · ln 2 + rest, of a normal x. Source: msun, e_logf.c.

    x = 2^k · (1 + f) with √½ ≤ 1 + f < √2; ln(1 + f) = f − f²/2 + s·(f²/2 + R(s²)), s = f / (2 + f).
    """
    moved = let(raw(x) + const(_ONE - _ROOT_HALF))
    k = let(cast("float32", (moved >> 23) - const(127) + exponent))
    f = let(bits("float32", (moved & const(0x7FFFFF)) + const(_ROOT_HALF)) - real(1.0))
    s = let(f / (f + real(2.0)))
    z = let(s * s)
    r = z * polynomial(z, (0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693))
    half = let(real(0.5) * f * f)
    return let(s * (half + r) + (k * real(9.0580006145e-06) + rest) - half + f + k * real(6.9313812256e-01))


def _of_positive(x: Expr, value: Expr, at_zero: Expr) -> Expr:
    """Return a value for 0 < x < ∞, ∞ for ∞, `at_zero` for ±0 and NaN for what is less."""
    return select(x > real(0.0), select(x < real(inf), value, x), select(x.equal(real(0.0)), at_zero, real(nan)))


# --- exponentials


def power_of_two(exponent: Expr) -> Expr:
    """Return 2^exponent of an int32 in −126 … 127."""
    return bits("float32", (exponent + const(127)) << 23)


def exp(let: Let, x: Expr) -> Expr:
    """Return e^x: 2^n · e^r by the Taylor polynomial, the power in two factors, as it may be beyond those of f32."""
    n, r = _reduced(let, let(kept(x, -104.0, 89.0)))
    half = let(n >> 1)
    return polynomial(r, (1 / 5040, *_TAYLOR, 1.0)) * power_of_two(half) * power_of_two(n - half)


def quarter_expm1(let: Let, x: Expr) -> Expr:
    """Return (e^x − 1) / 4 for x ≤ 89.5: so much remains finite where only hyperbolic functions are."""
    n, r = _reduced(let, let(kept(x, -30.0, 89.5)))
    power = let(power_of_two(n - const(2)))
    return let(power * (r * polynomial(r, (1 / 5040, *_TAYLOR))) + (power - real(0.25)))


def expm1(let: Let, x: Expr) -> Expr:
    """Return e^x − 1."""
    return quarter_expm1(let, x) * real(4.0)


def _reduced(let: Let, x: Expr) -> tuple[Expr, Expr]:
    """Return n and r, x = n · ln 2 + r, |r| ≤ ln 2 / 2 and a little. Source: Cody & Waite 1980; constants of Cephes."""
    n = let(raw(x * real(1.4426950408889634) + real(_NEAREST)) - const(_NEAREST_BITS))
    whole = let(cast("float32", n))
    return n, let(x - whole * real(_LN2_HIGH) - whole * real(_LN2_LOW))


def tanh(let: Let, x: Expr) -> Expr:
    """Return −e / (e + 2) of e = e^(−2|x|) − 1, with the sign of x."""
    e = let(expm1(let, let(magnitude(x) * real(-2.0))))
    return signed(let(magnitude(e / (e + real(2.0)))), x)


def sinh(let: Let, x: Expr) -> Expr:
    """Return (e + e / (e + 1)) / 2 of e = e^|x| − 1, with the sign of x."""
    q = quarter_expm1(let, let(magnitude(x)))
    finite = let(smallest(real(_LARGE), q))
    return signed(let(q * real(2.0) + finite * real(2.0) / (finite * real(4.0) + real(1.0))), x)


def cosh(let: Let, x: Expr) -> Expr:
    """Return (e + 1 / e) / 2 of e = e^|x|."""
    quarter = let(quarter_expm1(let, let(magnitude(x))) + real(0.25))
    return quarter * real(2.0) + real(0.125) / quarter


def softplus(let: Let, x: Expr) -> Expr:
    """Return ln(1 + e^x)."""
    return largest(real(0.0), x) + log1p(let, let(exp(let, let(negative(magnitude(x))))))


def erf(let: Let, x: Expr) -> Expr:
    """Return 2/√π · ∫₀ˣ e^(−t²) dt by the rational function of `numerics.erf`."""
    size = let(kept(magnitude(x), 0.0, SINGLE.limit))
    square = let(size * size)
    quotient = let(size * polynomial(square, SINGLE.p) / polynomial(square, SINGLE.q))
    return signed(let(select(size >= real(SINGLE.limit), real(1.0), smallest(real(1.0), quotient))), x)


# --- inverse functions


def asinh(let: Let, x: Expr) -> Expr:
    """Return ln(|x| + √(x² + 1)) with the sign of x, as ln(1 + |x| + x² / (1 + √(x² + 1))); 2|x| where that is vast."""
    size = let(magnitude(x))
    square = let(kept(size * size, 0.0, _VAST))
    near = log1p(let, let(size + square / (real(1.0) + sqrt(let, let(square + real(1.0))))))
    return signed(let(select(size < real(_LARGE), near, log(let, size) + real(_LN2))), x)


def acosh(let: Let, x: Expr) -> Expr:
    """Return ln(1 + t + √(2t + t²)) of t = x − 1; ln 2x where x is vast."""
    t = let(x - real(1.0))
    near = log1p(let, let(t + sqrt(let, let(kept(t * (t + real(2.0)), -1.0, _VAST)))))
    return select(x < real(1.0), real(nan), select(x < real(_LARGE), near, log(let, x) + real(_LN2)))


def atanh(let: Let, x: Expr) -> Expr:
    """Return ln(1 + 2|x| / (1 − |x|)) / 2 with the sign of x."""
    size = let(magnitude(x))
    return signed(let(real(0.5) * log1p(let, let(real(2.0) * size / (real(1.0) - size)))), x)


def asin(let: Let, x: Expr) -> Expr:
    """Return the arc sine: π/2 − 2·asin √((1 − |x|) / 2) where |x| > ½. Source: Cephes, asinf.c."""
    size = let(magnitude(x))
    small = size <= real(0.5)
    near, root = _arc(let, size, small)
    return signed(let(select(small, near, real(_PI / 2) - root)), x)


def acos(let: Let, x: Expr) -> Expr:
    """Return the arc cosine by the same two arcs as the arc sine."""
    size = let(magnitude(x))
    small = size <= real(0.5)
    near, root = _arc(let, size, small)
    return select(small, real(_PI / 2) - signed(near, x), select(x > real(0.0), root, real(_PI) - root))


def _arc(let: Let, size: Expr, small: Expr) -> tuple[Expr, Expr]:
    """Return the arc sine of what is small, and twice the one of √((1 − |x|) / 2)."""
    square = let(select(small, size * size, real(0.5) - real(0.5) * size))
    base = let(select(small, size, sqrt(let, square)))
    rest = polynomial(square, (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1))
    arc = let(base + base * square * rest)
    return arc, let(arc + arc)


def atan(let: Let, x: Expr) -> Expr:
    """Return the arc tangent, of |x|, −1/|x| or (|x| − 1) / (|x| + 1). Source: Cephes, atanf.c."""
    size = let(magnitude(x))
    far, middle = size > real(2.414213562373095), size > real(0.4142135623730950)
    above = let(select(far, real(-1.0), select(middle, size - real(1.0), size)))
    below = let(select(far, size, select(middle, size + real(1.0), real(1.0))))
    t = let(above / below)
    z = let(t * t)
    rest = polynomial(z, (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)) * z * t + t
    start = select(far, real(_PI / 2), select(middle, real(_PI / 4), real(0.0)))
    return signed(let(start + rest), x)
