import math

import numpy as np
import pytest

from stepdown.compare.judge import Level, Stored, Tolerance, judge, non_finite_text
from stepdown.errors import InputError
from stepdown.files.npz import TensorInfo

PLAIN = TensorInfo()
F = [1.0, -2.0, 3.0, 0.5]


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def verdict(a, b, tolerance=Tolerance(), a_meaning=PLAIN, b_meaning=PLAIN):
    return judge(Stored(np.asarray(a), a_meaning), Stored(np.asarray(b), b_meaning), tolerance)


@pytest.mark.parametrize(
    ("a", "b", "level"),
    [
        (f32(*F), f32(*F), Level.EQUAL),
        (f32(*F), f32(1, -2, 3, 0.50001), Level.CLOSE),
        (f32(*F), f32(1, -2, 3, 0.51), Level.SIMILAR),
        (f32(*F), f32(1, -2, 3, -0.5), Level.NOT_SIMILAR),
        (f32(0, 0), f32(0, 0), Level.EQUAL),
        (f32(0, 0), f32(0, 1e-30), Level.NOT_SIMILAR),
        (f32(0, 1), f32(-0.0, 1), Level.CLOSE),
        (np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), Level.EQUAL),
        (f32(1, 2), np.array([1, 2], np.float64), Level.EQUAL),
        (f32(1, 2), np.array([1, 2.0000001], np.float64), Level.CLOSE),
        (f32(1, 2), np.array([1, 2], np.float16), Level.EQUAL),
        (f32(1, 2), np.array([1, 2], ">f4"), Level.EQUAL),
        (np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).T.copy().T, Level.EQUAL),
        (np.arange(4), np.arange(4, dtype=np.int8), Level.EQUAL),
        (np.arange(1000), np.arange(1000) + (np.arange(1000) == 500), Level.NOT_EQUAL),
        (np.array([True, False]), np.array([True, True]), Level.NOT_EQUAL),
        (np.array([2**53 + 1]), np.array([2**53]), Level.NOT_EQUAL),
        (np.array([-1]), np.array([2**64 - 1], np.uint64), Level.NOT_EQUAL),
        (np.array([3]), f32(3), Level.EQUAL),
        (np.array([3]), f32(3.00001), Level.NOT_EQUAL),
        (np.array([3]), f32(math.nan), Level.NOT_EQUAL),
        (np.array(["cat"]), np.array(["cat"]), Level.EQUAL),
        (np.array(["cat"]), np.array(["dog"]), Level.NOT_EQUAL),
        (np.array(["cat"]), f32(3), Level.NOT_EQUAL),
        (f32(1, 2), f32(1, 2, 0), Level.SHAPE),
        (f32(1, 2, 3, 4), f32(1, 2, 3, 4).reshape(2, 2), Level.SHAPE),
        (f32(1), np.float32(1), Level.SHAPE),
        (f32(1, math.nan), f32(1, 0), Level.NOT_FINITE),
        (f32(1, 0), f32(1, math.nan), Level.NOT_FINITE),
        (f32(1, math.nan, 2), f32(1, 2, math.nan), Level.NOT_FINITE),
        (f32(1, math.inf), f32(1, -math.inf), Level.NOT_FINITE),
        (f32(1, math.inf), f32(1, math.nan), Level.NOT_FINITE),
        (f32(1, math.inf), f32(1, 3e38), Level.NOT_FINITE),
        (f32(math.nan, math.nan), f32(math.nan, math.nan), Level.NOT_FINITE),
        (f32(1, math.nan, -math.inf), f32(1, math.nan, -math.inf), Level.EQUAL),
        (f32(1, 2, math.nan), f32(1, 2.00001, math.nan), Level.CLOSE),
        (f32(1, 2, math.nan), f32(2, 1, math.nan), Level.NOT_SIMILAR),
    ],
)
def test_levels(a, b, level):
    assert verdict(a, b).level is level


def test_the_level_passes_or_not():
    assert {level for level in Level if level.passed} == {Level.EQUAL, Level.CLOSE, Level.SIMILAR}


def test_the_tolerance_is_met_at_its_very_value():
    found = verdict(f32(1.1, 2.2), f32(1, 2)).similarity
    assert found
    at, above = Tolerance(found.cosine, found.euclid), Tolerance(found.cosine, math.nextafter(found.euclid, 2))
    assert verdict(f32(1.1, 2.2), f32(1, 2), at).level is Level.SIMILAR
    assert verdict(f32(1.1, 2.2), f32(1, 2), above).level is Level.NOT_SIMILAR


def test_close_does_not_pass_below_the_tolerance():
    found = verdict(f32(1, 2), f32(1, 2.001), Tolerance(0.9999999, 0.9999999))
    assert found.level is Level.NOT_SIMILAR
    assert found.note == "close at order 3, but below the tolerance"


def test_non_finite_values_in_the_same_places_are_left_out_and_told():
    found = verdict(f32(1, 2, math.nan, math.inf), f32(1, 2.1, math.nan, math.inf), Tolerance(0.9, 0.9))
    assert found.level is Level.SIMILAR
    assert found.note == "warning: 1 NaN, 1 inf in the same places of both, the rest is compared"
    assert found.similarity == verdict(f32(1, 2), f32(1, 2.1)).similarity


def test_notes_say_what_differs():
    assert verdict(f32(1, 2), f32(1, 2, 3)).note == "(2,) in TARGET, (3,) in REFERENCE"
    assert (
        verdict(np.array([1, 2, 3]), np.array([1, 5, 6])).note == "2 of 3 elements differ, first at (1,): 2 against 5"
    )
    note = verdict(f32(1, math.nan), f32(0.1, 0.1)).note
    assert note == "NaN or infinities differ: TARGET has 1 NaN, REFERENCE has none; first at (1,): nan against 0.1"
    layouts = TensorInfo(layout="NHWC"), TensorInfo(layout="NCHW")
    assert verdict(np.zeros((2, 1)), np.zeros((1, 2)), Tolerance(), *layouts).note == (
        "(2, 1) (NHWC) in TARGET, (1, 2) (NCHW) in REFERENCE"
    )


Q = TensorInfo("i8", 0.5, 1)


@pytest.mark.parametrize(
    ("a", "a_meaning", "b", "b_meaning", "level"),
    [
        (np.int8([1, 3, 5]), Q, f32(0, 1, 2), PLAIN, Level.EQUAL),
        (np.int8([1, 3, 5]), Q, np.int8([1, 3, 5]), Q, Level.EQUAL),
        (np.int8([1, 3, 5]), Q, np.int8([1, 3, 5]), TensorInfo("i8", 5.0, 1), Level.NOT_SIMILAR),
        (np.int8([1, 3, 5]), Q, np.int8([0, 1, 2]), TensorInfo("i8", 1.0), Level.EQUAL),
        (np.int8([0, 2, 126]), Q, np.int8([0, 2, 127]), Q, Level.SIMILAR),
        (np.int8([0, 2, 126]), PLAIN, np.int8([0, 2, 127]), PLAIN, Level.NOT_EQUAL),
        (np.int8([10, 20]), PLAIN, f32(0.1, 0.2), PLAIN, Level.NOT_EQUAL),
        (np.int8([[1, 1], [1, 1]]), TensorInfo("i8", [1.0, 2.0], 0, 1), f32(1, 2, 1, 2).reshape(2, 2), PLAIN,
         Level.EQUAL),
        (np.int8([[1, 1], [1, 1]]), TensorInfo("i8", [1.0, 2.0], 0, 0), f32(1, 2, 1, 2).reshape(2, 2), PLAIN,
         Level.NOT_SIMILAR),
        (np.uint16([0x3F80]), TensorInfo("bf16"), f32(1), PLAIN, Level.EQUAL),
        (np.uint16([0x3F80]), PLAIN, f32(1), PLAIN, Level.NOT_EQUAL),
        (np.uint16([0x3F80, 0x7FC0]), TensorInfo("bf16"), f32(1, 1), PLAIN, Level.NOT_FINITE),
    ],
)  # fmt: skip
def test_stored_types(a, a_meaning, b, b_meaning, level):
    assert verdict(a, b, Tolerance(), a_meaning, b_meaning).level is level


def test_metadata_that_does_not_fit_is_an_error_and_not_a_verdict():
    with pytest.raises(InputError, match="3 scales"):
        verdict(np.int8([1, 2]), f32(1, 2), Tolerance(), TensorInfo("i8", [1.0, 2.0, 3.0], 0, 0))


def test_large_tensors_that_differ_in_the_last_byte_are_not_equal():
    a = np.zeros(100_000, np.uint8)
    b = a.copy()
    b[-1] = 1
    assert verdict(a, b).level is Level.NOT_EQUAL


def test_counts_of_what_is_not_finite():
    assert non_finite_text(f32(1)) == non_finite_text(np.array([1])) == ""
    assert non_finite_text(f32(math.nan, math.inf, -math.inf, math.inf)) == "1 NaN, 2 inf, 1 -inf"
