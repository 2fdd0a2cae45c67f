"""Rounding lowers the error that it is about, and gives the least one where all integers can be tried."""

import itertools

import numpy as np
import pytest

from stepdown.correction.moments import Centred, Moments
from stepdown.correction.rounding import RIDGES, Problem, best_scales, round_rows, wanted


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
    moments = Moments.zero(1, 2, 5)
    moments.add(1.1 * x, rows @ x + 4)
    seen = moments.centred()
    found = wanted(rows, seen, RIDGES[0]).rows
    assert np.allclose(found, rows / 1.1, atol=2e-3)
    assert seen.error(rows / 1.1).max() < 1e-6 < seen.error(rows).min()


def seen_of(x: np.ndarray, y: np.ndarray) -> Centred:
    moments = Moments.zero(x.shape[0], y.shape[1], x.shape[1])
    for at in range(0, x.shape[2], 50):
        moments.add(x[:, :, at : at + 50], y[:, :, at : at + 50])
    return moments.centred()


def test_two_parts_are_seen_as_their_whole_is() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 3, 400)) + 1, rng.normal(size=(2, 5, 400)) - 2
    whole, parts = seen_of(x, y), seen_of(x[:, :, :150], y[:, :, :150]) + seen_of(x[:, :, 150:], y[:, :, 150:])
    assert np.allclose(whole.h[1], np.cov(x[1], bias=True))
    for name in ("h", "c", "x", "y", "variance", "count"):
        assert np.allclose(getattr(whole, name), getattr(parts, name)), name


def test_channels_that_hardly_change_far_from_zero_can_be_solved() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1, 40, 400)).astype(np.float32)
    x[:, 10:] = 100 + 1e-4 * x[:, 10:]
    rows = rng.normal(size=(1, 6, 40)).astype(np.float32)
    seen = seen_of(x, np.matmul(rows, x))
    problem = wanted(rows, seen, RIDGES[0])
    found = round_rows(problem, np.abs(rows).max(axis=2) / 127)
    assert np.linalg.eigvalsh(problem.h).min() > 0
    assert np.isfinite(found).all() and np.allclose(problem.rows, rows, atol=0.01)
