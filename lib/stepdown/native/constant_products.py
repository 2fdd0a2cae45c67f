"""Products of a constant matrix with a vector of expressions, written with few operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from stepdown.native.cook_toom import Matrix
from stepdown.native.tir import Expr, Function, const

_Row = tuple[Fraction, ...]


def product(f: Function, matrix: Matrix, values: Sequence[Expr]) -> list[Expr]:
    """Return matrix · values as names of float32; neighbours that differ in signs alone share sums and differences."""
    plan = _plan(matrix)
    held = list(values)
    for j in plan.folds:
        held[j : j + 2] = f.let(held[j] + held[j + 1]), f.let(held[j] - held[j + 1])
    made: list[Expr] = []
    for row, other in plan.rows:
        first = f.let(_sum(row, held))
        if other is None:
            made.append(first)
        else:
            second = _sum(other, held)
            named = f.let(second) if sum(map(bool, other)) > 1 else second
            made += [f.let(first + named), f.let(first - named)]
    return made


@dataclass(frozen=True)
class _Plan:
    """Of which neighbours sum and difference are taken; then rows, or what two are the sum and difference of."""

    folds: tuple[int, ...]
    rows: tuple[tuple[_Row, _Row | None], ...]


@cache
def _plan(matrix: Matrix) -> _Plan:
    folds: list[int] = []
    for j in range(len(matrix[0]) - 1):
        if _are_mirrored(matrix, j):
            folds.append(j)
            matrix = tuple(_folded(row, j) for row in matrix)
    rows: list[tuple[_Row, _Row | None]] = []
    left = list(matrix)
    while left:
        shared = len(left) > 1 and _share(*left[:2])
        rows.append(_halves(*left[:2]) if shared else (left[0], None))
        left = left[2 if shared else 1 :]
    return _Plan(tuple(folds), tuple(rows))


def operations(matrix: Matrix) -> int:
    """Return how many operations a product takes; a multiply-add is one."""
    plan = _plan(matrix)
    return 2 * len(plan.folds) + sum(
        _operations(row) + (2 + _operations(other) if other else 0) for row, other in plan.rows
    )


def _operations(row: _Row) -> int:
    """Return how many operations a sum takes: a product by itself is one where it is added to nothing."""
    factors = [abs(factor) for factor in row if factor]
    return len(factors) - (1 in factors)


def _are_mirrored(matrix: Matrix, j: int) -> bool:
    """Tell whether columns j and j + 1 differ in signs alone, and in some: then sums and differences do for both."""
    same = all(abs(row[j]) == abs(row[j + 1]) for row in matrix)
    return (
        same and any(row[j] != row[j + 1] for row in matrix) and any(row[j] and row[j] == row[j + 1] for row in matrix)
    )


def _folded(row: _Row, j: int) -> _Row:
    """Return a row for the sum and the difference in place of operands j and j + 1."""
    pair = (row[j], Fraction(0)) if row[j] == row[j + 1] else (Fraction(0), row[j])
    return (*row[:j], *pair, *row[j + 2 :])


def _halves(a: _Row, b: _Row) -> tuple[_Row, _Row]:
    """Return what two rows have in common, and what is added for the one and taken off for the other."""
    pairs = list(zip(a, b, strict=True))
    return tuple((p + q) / 2 for p, q in pairs), tuple((p - q) / 2 for p, q in pairs)


def _share(a: _Row, b: _Row) -> bool:
    """Tell whether two rows differ in signs alone, and in some of several."""
    even, odd = _halves(a, b)
    return any(even) and any(odd) and not any(p and q for p, q in zip(even, odd, strict=True))


def _sum(row: _Row, values: Sequence[Expr]) -> Expr:
    """Return Σ row · values: what is multiplied by ±1 first, so that each other one is a multiply-add."""
    terms = [(factor, value) for factor, value in zip(row, values, strict=True) if factor]
    terms.sort(key=lambda term: (abs(term[0]) != 1, term[0] < 0))
    made: Expr = None
    for factor, value in terms:
        scaled = value if abs(factor) == 1 else value * const(float(abs(factor)), "float32")
        if made is None:
            made = scaled if factor > 0 else const(0.0, "float32") - scaled
        else:
            made = made + scaled if factor > 0 else made - scaled
    return made
