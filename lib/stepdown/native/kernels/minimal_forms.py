"""Minimal filtering in integers: what images, filters and products are turned into, in one dimension.

m results of a filter of 3 taps take m + 2 products instead of 3·m: y = Aᵀ[(G·g) ⊙ (Bᵀ·d)], after S. Winograd,
*Arithmetic Complexity of Computations* (1980); A. Lavin, S. Gray, *Fast Algorithms for Convolutional Neural Networks*
(2015). The points are 0, ±1, ∞ for two results, and also ±2 for four. Rows of G are multiplied by what makes them
integers, and the results come out multiplied by `odd` · 2^shift, which is taken off exactly.

Nothing is lost: images of 8 bits and weights of 8 bits, changed, stay below 2^15; sums and what is made of them are
kept modulo 2^32, and y is known to be so small that its multiple is not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stepdown.native.tir import Expr, const, wrapped

Numbers = Sequence[Expr]


@dataclass(frozen=True)
class Form:
    """Minimal filtering of `results` at a time.

    `image` is Bᵀ·d, `filter` G·g, both in int16; `result` is Aᵀ·m, which may wrap: modulo 2^32 it is y times
    `odd` · 2^shift.
    """

    results: int
    image: Callable[[Numbers], list[Expr]]
    filter: Callable[[Numbers], list[Expr]]
    result: Callable[[Numbers], list[Expr]]
    shift: int
    operations: tuple[int, int, int]
    """How many each of these takes."""
    odd: int = 1

    @property
    def size(self) -> int:
        """Products of one row: what goes in of an image."""
        return self.results + 2

    @property
    def most(self) -> int:
        """What |y| must stay below, in two dimensions, to come out of 32 bits."""
        return 1 << (31 - 2 * self.shift)

    def whole(self, value: Expr) -> Expr:
        """Return y of what both dimensions made."""
        inverse = pow(self.odd * self.odd, -1, 1 << 32)
        exact = wrapped(lambda v, c: v * c, value, const(inverse)) if inverse > 1 else value
        return exact >> const(2 * self.shift)


def plus(a: Expr, b: Expr) -> Expr:
    """Return the low 32 bits of a + b."""
    return wrapped(lambda x, y: x + y, a, b)


def _sub(a: Expr, b: Expr) -> Expr:
    return wrapped(lambda x, y: x - y, a, b)


def _image2(d: Numbers) -> list[Expr]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _filter2(g: Numbers) -> list[Expr]:
    ends = g[0] + g[2]
    return [g[0] + g[0], ends + g[1], ends - g[1], g[2] + g[2]]


def _result2(m: Numbers) -> list[Expr]:
    return [plus(m[0], plus(m[1], m[2])), _sub(_sub(m[1], m[2]), m[3])]


def _times(value: Expr, power: int) -> Expr:
    return value << const(power, "int16")


def _image4(d: Numbers) -> list[Expr]:
    far, near = d[4] - d[2], d[3] - d[1]
    even, odd = d[4] - _times(d[2], 2), d[3] - _times(d[1], 2)
    first, last = _times(d[0] - d[2], 2) + far, (d[5] - d[3]) - _times(near, 2)
    return [first, even + odd, even - odd, far + _times(near, 1), far - _times(near, 1), last]


def _filter4(g: Numbers) -> list[Expr]:
    ends, wide, middle = g[0] + g[2], g[0] + _times(g[2], 2), _times(g[1], 1)
    six = const(6, "int16")
    return [g[0] * six, ends + g[1], ends - g[1], wide + middle, wide - middle, g[2] * six]


def _result4(m: Numbers) -> list[Expr]:
    one, two = plus(m[1], m[2]), plus(m[3], m[4])
    apart, further = _sub(m[2], m[1]), _sub(m[3], m[4])
    first = plus(m[0], _sub(two, one << const(2)))
    last = plus(plus(apart, further << const(1)), m[5])
    return [first, plus(apart << const(2), further << const(1)), _sub(two, one) << const(2), last << const(2)]


TWO = Form(2, _image2, _filter2, _result2, 1, (4, 4, 4))
FOUR = Form(4, _image4, _filter4, _result4, 3, (17, 10, 18), 3)
FORMS = (FOUR, TWO)


def both(
    change: Callable[[Numbers], list[Expr]], grid: Sequence[Sequence[Expr]], let: Callable[[Expr], Any]
) -> list[list[Expr]]:
    """Return rows of what a form makes of a grid in both dimensions, columns first; `let` names what is computed."""
    columns = [[let(v) for v in change([row[j] for row in grid])] for j in range(len(grid[0]))]
    return [change([column[i] for column in columns]) for i in range(len(columns[0]))]
