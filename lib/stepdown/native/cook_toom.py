"""Convolutions with few multiplications: F(m, r), m results of a filter of r taps from m + r − 1 products.

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]        of d[m + r − 1], g[r]; in two dimensions  Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

By Cook and Toom: a product of polynomials is known from its values at m + r − 1 points, one of them ∞; transposed,
that is a filter. With the points below these are the matrices of Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", arXiv:1509.09308, section 4, but for factors of rows. Pairs of points ±a share half of their work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

Matrix = tuple[tuple[Fraction, ...], ...]

POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}
"""By the number of results of three taps, the finite points."""
TAPS = 3


@dataclass(frozen=True)
class MinimalFilter:
    """F(results, 3); the matrices are exact."""

    results: int

    @property
    def size(self) -> int:
        """Operands, and products, of one dimension."""
        return self.results + TAPS - 1

    @cached_property
    def _points(self) -> tuple[Fraction, ...]:
        return tuple(map(Fraction, POINTS[self.results]))

    @cached_property
    def outward(self) -> Matrix:
        """Aᵀ[m, n]: the powers of the points, and of ∞ the last one alone."""
        last = self.results - 1
        return tuple((*(a**i for a in self._points), Fraction(i == last)) for i in range(self.results))

    @cached_property
    def of_weights(self) -> Matrix:
        """G[n, r]: the powers of each point over the last one."""
        rows = [tuple(a**k / self._last(a) for k in range(TAPS)) for a in self._points]
        return (*rows, tuple(Fraction(k == TAPS - 1) for k in range(TAPS)))

    @cached_property
    def inward(self) -> Matrix:
        """Bᵀ[n, n]: the polynomials that are zero at all points but one, over their value there; of ∞, zero at all.

        A factor of a row may be in G or here; G, which weights are multiplied by at each run, has the simpler ones.
        """
        rows = [(*self._polynomial(a), Fraction(0)) for a in self._points]
        return (*rows, _with_roots(self._points))

    def _polynomial(self, point: Fraction) -> tuple[Fraction, ...]:
        made = _with_roots([b for b in self._points if b != point])
        factor = self._last(point) / sum(c * point**k for k, c in enumerate(made))
        return tuple(c * factor for c in made)

    def _last(self, point: Fraction) -> Fraction:
        """Return the last power of a point that is not 0: what G's row is divided by."""
        return point ** (TAPS - 1) or Fraction(1)


def _with_roots(roots: Iterable[Fraction]) -> tuple[Fraction, ...]:
    """Return the coefficients of Π (x − root), the constant first."""
    made = [Fraction(1)]
    for root in roots:
        made = [a - root * b for a, b in zip([Fraction(0), *made], [*made, Fraction(0)], strict=True)]
    return tuple(made)
