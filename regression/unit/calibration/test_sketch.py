"""Sketches: exact, the same however the values are split, and of one size."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepdown.calibration.sketch import SIDE, Sketch

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PARTS = st.lists(st.lists(FLOATS, max_size=8), min_size=1, max_size=5)


def sketch_of(*parts: list[float]) -> Sketch:
    sketch = Sketch()
    for part in parts:
        sketch.update(np.array(part, np.float32))
    return sketch


def state(sketch: Sketch) -> tuple:
    return sketch.count, sketch.minimum, sketch.maximum, sketch.exponent, sketch.counts.tobytes()


def merged(*sketches: Sketch) -> Sketch:
    total = Sketch()
    for sketch in sketches:
        total.merge(sketch)
    return total


@given(PARTS)
def test_any_split_gives_the_same_bytes(parts: list[list[float]]) -> None:
    whole = sketch_of([v for part in parts for v in part])
    assert state(sketch_of(*parts)) == state(whole)
    assert state(merged(*map(sketch_of, parts))) == state(whole)


@given(PARTS, PARTS, PARTS)
@example([[]], [[0.0]], [[0.25]])
def test_merging_is_commutative_and_associative(a: list, b: list, c: list) -> None:
    x, y, z = sketch_of(*a), sketch_of(*b), sketch_of(*c)
    assert state(merged(x, y)) == state(merged(y, x))
    assert state(merged(merged(x, y), z)) == state(merged(x, merged(y, z)))


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_counts_are_those_of_the_definition(values: list[float]) -> None:
    sketch = sketch_of(values)
    exact = np.array(values, np.float32).astype(np.float64)
    assert (sketch.minimum, sketch.maximum, sketch.count) == (exact.min(), exact.max(), len(values))
    assert np.abs(exact).max() < math.ldexp(1.0, sketch.exponent)
    bins = np.trunc(exact / sketch.bin_width).astype(int) + SIDE
    assert np.array_equal(sketch.counts, np.bincount(bins, minlength=2 * SIDE))


def test_large_arrays_are_counted_whole_and_need_no_more_memory() -> None:
    values = np.random.default_rng(0).standard_normal((3, 50_001)).astype(np.float32)
    sketch = Sketch()
    before = sketch.counts.nbytes
    for _ in range(3):
        sketch.update(values.T)
    assert sketch.counts.sum() == sketch.count == 9 * 50_001
    assert sketch.counts.nbytes == before


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers_are_refused_and_leave_the_sketch_alone(bad: float) -> None:
    sketch = sketch_of([1.0, 2.0])
    before = state(sketch)
    with pytest.raises(ValueError, match="1 of 3 values are NaN or infinite"):
        sketch.update(np.array([1, bad, 3], np.float32))
    assert state(sketch) == before


def test_the_largest_floats_are_not_taken_for_infinite() -> None:
    largest = float(np.finfo(np.float32).max)
    assert sketch_of([largest, -largest]).absmax == largest


def test_an_empty_sketch() -> None:
    assert state(sketch_of([])) == state(Sketch())
    assert Sketch().absmax == 0
