"""Rounding lowers the error that it is about, and gives the least one where all integers can be tried."""

import itertools

import numpy as np
import pytest

from stepdown.correction.moments import Moments
from stepdown.correction.rounding import Problem, best_ridge, best_scales, round_rows, wanted


def random_problem(groups: int, outputs: int, terms: int) -> Problem:
    """Return rows and a covariance of columns that depend on one another."""
    rng = np.random.default_rng(terms)
    mixed = rng.normal(size=(groups, terms, terms)) @ rng.normal(size=(groups, terms, 4 * terms))
    return Problem(rng.normal(size=(groups, outputs, terms)), mixed @ mixed.swapaxes(1, 2) / (4 * terms))


@pytest.mark.parametrize("shape", [(1, 5, 130), (7, 1, 9), (2, 3, 1)])
def test_rounding_beats_the_nearest_integers(shape: tuple[int, int, int]) -> None:
    problem = random_problem(*shape)
    scales = np.abs(problem.rows).max(axis=2) / 7  # coarse, so that rounding matters
    found = round_rows(problem, scales)
    nearest = np.rint(problem.rows / scales[:, :, None])
    assert np.array_equal(found, np.rint(found)) and np.abs(found).max() <= 127
    least, plain = (problem.error(q * scales[:, :, None]).sum() for q in (found, nearest))
    assert least < plain * 0.7 or shape[2] == 1
    assert np.array_equal(found, round_rows(problem, scales))


def test_no_single_integer_can_be_moved_to_a_lower_error() -> None:
    problem = random_problem(1, 4, 6)
    scales = np.abs(problem.rows).max(axis=2) / 5
    found = round_rows(problem, scales)
    error = problem.error(found * scales[:, :, None])
    for k, step in itertools.product(range(6), (-1, 1)):
        moved = found.copy()
        moved[:, :, k] += step
        assert (problem.error(moved * scales[:, :, None]) >= error - 1e-9).all()


def test_uncorrelated_columns_are_rounded_to_the_nearest() -> None:
    problem = random_problem(1, 4, 80)
    plain = Problem(problem.rows, np.eye(80)[None])
    scales = np.abs(plain.rows).max(axis=2) / 127
    assert np.array_equal(round_rows(plain, scales), np.rint(plain.rows / scales[:, :, None]))


def test_scales_shrink_where_one_weight_is_far_out_and_hardly_read() -> None:
    rows, h = np.full((1, 1, 64), 0.013), np.eye(64)[None].copy()
    rows[0, 0, 0], h[0, 0, 0] = 1.0, 1e-6
    problem = Problem(rows, h)
    assert best_scales(problem, np.array([[1 / 127]])).item() < 1 / 127


def test_wanted_rows_undo_a_known_gain_of_what_is_read() -> None:
    rng = np.random.default_rng(3)
    rows, x = rng.normal(size=(1, 2, 5)), rng.normal(size=(1, 5, 400)) + 2
    halves = Moments.zero(1, 2, 5), Moments.zero(1, 2, 5)
    for half, at in zip(halves, (slice(200), slice(200, None)), strict=True):
        half.add(1.1 * x[:, :, at], rows @ x[:, :, at] + 4)
    seen = (halves[0] + halves[1]).centred()
    ridge = best_ridge(rows, (halves[0].centred(), halves[1].centred()))
    found = wanted(rows, seen, ridge).rows
    assert ridge == 1e-3
    assert np.allclose(found, rows / 1.1, atol=2e-3)
    assert seen.error(rows / 1.1).max() < 1e-6 < seen.error(rows).min()
