"""Rounding of weights to integers so that the outputs, not the weights, are closest to what is wanted.

For rows W, covariance H of what they multiply and wanted rows T, the error is Σ (s·q − t) H (s·q − t)ᵀ over rows.
First each column is rounded in turn, and its error spread over the columns that follow (Frantar et al., GPTQ,
arXiv:2210.17323); then single integers are moved for as long as that lowers the error. No random numbers.
"""

from dataclasses import dataclass

import numpy as np

from stepdown.correction.moments import Centred
from stepdown.numerics.quantize import WEIGHT_MAX

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""How strongly the wanted rows are held to the float weights, as multiples of a column's variance."""
SHRINKS = (1.0, 0.95, 0.9, 0.8, 0.7)
"""By how much a channel's scale may fall below the one that holds its largest weight."""
_FLOOR = 1e-6
_SWEEPS = 2
_BLOCK = 64
# Columns that are worked on together: what they do to the others is one matrix product.


@dataclass(frozen=True)
class Problem:
    """Wanted rows[G, O, K] and the positive definite h[G, K, K] by which distance from them is measured."""

    rows: np.ndarray
    h: np.ndarray

    def error(self, rows: np.ndarray) -> np.ndarray:
        """Return the squared error [G, O] of rows."""
        off = rows - self.rows
        return np.asarray((np.matmul(off, self.h) * off).sum(axis=2))


def wanted(rows: np.ndarray, seen: Centred, ridge: float) -> Problem:
    """Return the rows that give the targets from what is read, drawn to the float `rows` by `ridge`.

    The minimum over T of ‖y − T x‖² + ridge · Σ d (t − w)², d the variance of a column (with a floor).
    """
    held = ridge * _diagonal(seen.h) + _lost(seen.h)
    h = seen.h + _embedded(held)
    right = seen.c + rows * held[:, None, :]
    return Problem(np.linalg.solve(h, right.swapaxes(1, 2)).swapaxes(1, 2), h)


def round_rows(problem: Problem, scales: np.ndarray) -> np.ndarray:
    """Return integers q[G, O, K] in ±127 such that q · scales[G, O] is near the wanted rows, in the problem's sense."""
    return _descended(problem, scales, _compensated(problem, scales))


def best_scales(problem: Problem, scales: np.ndarray) -> np.ndarray:
    """Return, by row, the shrunken scale of the least error, every weight rounded to its nearest."""
    found, least = scales, np.full(scales.shape, np.inf)
    for shrink in SHRINKS:
        tried = scales * shrink
        error = problem.error(_nearest(problem.rows, tried) * tried[:, :, None])
        found, least = np.where(error < least, tried, found), np.minimum(error, least)
    return found


def _nearest(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(rows / scales[..., None]), -WEIGHT_MAX, WEIGHT_MAX)


def _compensated(problem: Problem, scales: np.ndarray) -> np.ndarray:
    """Round column by column, each error spread over the later columns by the Cholesky factor of h⁻¹."""
    rows, upper = problem.rows.copy(), np.linalg.cholesky(np.linalg.inv(problem.h)).swapaxes(1, 2)
    found = np.empty_like(rows)
    for begin in range(0, rows.shape[2], _BLOCK):
        block, later = slice(begin, begin + _BLOCK), slice(begin + _BLOCK, None)
        errors = _compensated_block(rows[:, :, block], upper[:, block, block], scales, found[:, :, block])
        rows[:, :, later] -= np.matmul(errors, upper[:, block, later])
    return found


def _compensated_block(rows: np.ndarray, upper: np.ndarray, scales: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Fill `found` with the integers of some columns; return what they miss, in units of the factor's diagonal."""
    rows, errors = np.array(rows), np.empty(rows.shape)
    for k in range(rows.shape[2]):
        found[:, :, k] = _nearest(rows[:, :, k, None], scales)[..., 0]
        errors[:, :, k] = (rows[:, :, k] - found[:, :, k] * scales) / upper[:, None, k, k]
        rows[:, :, k:] -= errors[:, :, k, None] * upper[:, None, k, k:]
    return errors


def _descended(problem: Problem, scales: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Move one column's integers at a time to where the error is least, until nothing moves."""
    found, h = start.copy(), problem.h
    slope = np.matmul(found * scales[:, :, None] - problem.rows, h)
    for _ in range(_SWEEPS):
        before = found.copy()
        for begin in range(0, found.shape[2], _BLOCK):
            block = slice(begin, begin + _BLOCK)
            steps = _descended_block(found[:, :, block], slope[:, :, block], h[:, block, block], scales)
            slope += np.matmul(steps * scales[:, :, None], h[:, block, :])
        if np.array_equal(before, found):
            break
    return found


def _descended_block(found: np.ndarray, slope: np.ndarray, h: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Move the integers `found` of some columns in place; return by how much."""
    slope, steps = np.array(slope), np.zeros(found.shape)
    for k in range(found.shape[2]):
        target = np.rint(found[:, :, k] - slope[:, :, k] / (scales * h[:, None, k, k]))
        steps[:, :, k] = np.clip(target, -WEIGHT_MAX, WEIGHT_MAX) - found[:, :, k]
        slope += (steps[:, :, k] * scales)[:, :, None] * h[:, None, k, :]
        found[:, :, k] += steps[:, :, k]
    return steps


def _diagonal(h: np.ndarray) -> np.ndarray:
    """Return the variances [G, K], those near 0 lifted to a small share of the mean."""
    diagonal = np.einsum("gkk->gk", h)
    mean = diagonal.mean(axis=1, keepdims=True)
    return np.maximum(diagonal, _FLOOR * mean) + np.where(mean > 0, _FLOOR * mean, 1.0)


def _lost(h: np.ndarray) -> np.ndarray:
    """Return a bound [G, 1] of what float32 products add to the eigenvalues of h, so that h with it is positive."""
    return np.asarray(np.finfo(np.float32).eps * np.einsum("gkk->g", h)[:, None])


def _embedded(diagonal: np.ndarray) -> np.ndarray:
    return np.asarray(diagonal[:, :, None] * np.eye(diagonal.shape[1]))
