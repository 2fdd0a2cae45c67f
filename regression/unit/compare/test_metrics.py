import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepdown.compare.metrics import BLOCK, SAME, peak, similarity

ROOT5 = math.sqrt(5)

# target, reference, cosine, euclid, SQNR [dB], close order, max difference
BY_HAND = [
    ([1, 2, 3], [1, 2, 3], 1, 1, math.inf, 7, 0),
    ([2, 0], [0, 2], 0, -1, 10 * math.log10(2 / 8), 0, 2),
    ([1.1, 2.2], [1, 2], 1, 1 - 0.1 / 1.05, 10, 0, 0.2),
    ([-1, -2], [1, 2], -1, -math.inf, 10 * math.log10(0.5 / 20), 0, 4),
    ([0, 0], [0, 0], 1, 1, math.inf, 7, 0),
    ([0, 0], [3, 4], 0, -1, 10 * math.log10(0.5 / 25), 0, 4),
    ([3, 4], [0, 0], 0, -1, -math.inf, 0, 4),
    ([2, 3], [2, 2], 10 / math.sqrt(13 * 8), 1 - 1 / math.hypot(2, 2.5), -math.inf, 0, 1),
    ([1, 3], [0, 2], 3 / math.sqrt(10), 1 - math.sqrt(2) / math.hypot(0.5, 2.5), 0, 0, 1),
    ([7], [5], 1, 1 - 2 / 6, -math.inf, 0, 2),
    ([1.0005, 1], [1, 1], 2.0005 / math.sqrt(2 * (1.0005**2 + 1)), None, -math.inf, 3, 0.0005),
    ([1.00005, 1], [1, 1], None, None, -math.inf, 4, 0.00005),
]


@pytest.mark.parametrize(("a", "b", "cosine", "euclid", "sqnr_db", "order", "largest"), BY_HAND)
def test_values_computed_by_hand(a, b, cosine, euclid, sqnr_db, order, largest):
    found = similarity(np.array(a, np.float64), np.array(b, np.float64))
    assert cosine is None or found.cosine == pytest.approx(cosine, abs=1e-12)
    assert euclid is None or found.euclid == pytest.approx(euclid, abs=1e-12)
    assert found.sqnr_db == pytest.approx(sqnr_db, abs=1e-9)
    assert found.close_order == order
    assert found.max_difference == pytest.approx(largest, abs=1e-12)


def test_two_empty_tensors_are_the_same():
    assert similarity(np.zeros((0, 3)), np.zeros((0, 3))) == SAME


def test_every_block_counts():
    reference = np.ones(3 * BLOCK + 5)
    for place in (0, BLOCK - 1, BLOCK, 3 * BLOCK, reference.size - 1):
        target = reference.copy()
        target[place] = 1.5
        found = similarity(target, reference)
        assert found.close_order == 0, place
        assert found.max_difference == 0.5
        assert found.euclid == pytest.approx(1 - 0.5 / math.sqrt(reference.size - 1 + 1.25**2))


def test_a_late_block_can_still_end_closeness():
    reference = np.ones(2 * BLOCK)
    target = reference.copy()
    target[0], target[-1] = 1.00001, 1.01
    assert similarity(target, reference).close_order == 0


def test_the_signal_is_what_varies_however_large_the_mean():
    varying = np.array([1.0, -1, 1, -1])
    noise = np.array([0.125, 0, 0, 0])
    found = similarity(varying + noise + 2.0**40, varying + 2.0**40)
    assert found.sqnr_db == pytest.approx(10 * math.log10(4 / 0.125**2), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64])
def test_every_number_type_gives_the_same_values(dtype):
    a, b = np.array([1, 2, 3, 100]), np.array([1, 2, 4, 100])
    assert similarity(a.astype(dtype), b.astype(dtype)) == similarity(a.astype(float), b.astype(float))


@pytest.mark.parametrize("exponent", [-1070, -900, -450, 450, 900, 1020])
def test_huge_and_tiny_values_neither_overflow_nor_vanish(exponent):
    a, b = np.array([1.0, -2, 3, 0]), np.array([1.0, -2.5, 3, 0.5])
    plain, scaled = similarity(a, b), similarity(np.ldexp(a, exponent), np.ldexp(b, exponent))
    assert (scaled.cosine, scaled.euclid) == pytest.approx((plain.cosine, plain.euclid), rel=1e-9)
    assert scaled.sqnr_db == pytest.approx(plain.sqnr_db, rel=1e-9)
    assert scaled.max_difference == math.ldexp(plain.max_difference, exponent)


def test_a_tiny_target_still_points_in_the_direction_of_a_huge_reference():
    found = similarity(np.array([1e-300, 2e-300]), np.array([1e300, 2e300]))
    assert found.cosine == pytest.approx(1)
    assert found.euclid == pytest.approx(-1)


def test_float32_denormals_are_not_zeros():
    found = similarity(np.array([1e-45, 0], np.float32), np.array([0, 1e-45], np.float32))
    assert (found.cosine, found.euclid) == (0, pytest.approx(-1))


def test_tiny_tensors_are_not_close_because_they_are_tiny():
    """np.allclose calls these close at every rtol: its absolute tolerance is larger than all of the values."""
    a, b = np.array([1e-9, 2e-9]), np.array([2e-9, 1e-9])
    assert np.allclose(a, b, rtol=1e-7)
    assert similarity(a, b).close_order == 0


def test_peak_shows_what_is_not_finite():
    assert peak(np.array([1.0, -3.0])) == 3
    assert math.isnan(peak(np.array([1.0, math.nan])))
    assert peak(np.array([1.0, -math.inf])) == math.inf
    assert peak(np.zeros(0)) == 0
    assert peak(np.array([-128], np.int8)) == 128


VALUES = st.floats(-1e6, 1e6, width=32).map(lambda v: 0.0 if abs(v) < 1e-20 else v)
TENSORS = st.integers(1, 40).flatmap(lambda n: st.tuples(*[arrays(np.float32, n, elements=VALUES)] * 2))


def reference_similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The definitions, written out with exact sums."""
    x, y = a.astype(float).tolist(), b.astype(float).tolist()
    norm_x, norm_y = math.hypot(*x), math.hypot(*y)
    dot = math.fsum(p * q for p, q in zip(x, y, strict=True))
    middle = math.hypot(*((p + q) / 2 for p, q in zip(x, y, strict=True)))
    distance = math.hypot(*(p - q for p, q in zip(x, y, strict=True)))
    return dot / norm_x / norm_y, 1 - distance / middle if middle else -math.inf


@settings(max_examples=50)
@given(TENSORS)
def test_they_follow_their_definitions(pair):
    a, b = pair
    if not a.any() or not b.any():
        return
    cosine, euclid = reference_similarity(a, b)
    found = similarity(a, b)
    assert found.cosine == pytest.approx(cosine, abs=1e-12)
    assert found.euclid == pytest.approx(euclid, rel=1e-6) or euclid < -1e6
    assert -1 <= found.cosine <= 1
    assert found.euclid <= 1


@settings(max_examples=50)
@given(TENSORS, st.integers(-60, 60))
def test_scale_and_order_of_the_elements_do_not_matter(pair, exponent):
    a, b = pair
    factor = 2.0**exponent
    plain = similarity(a, b)
    other = similarity(a[::-1].astype(float) * factor, b[::-1].astype(float) * factor)
    assert other.cosine == pytest.approx(plain.cosine, abs=1e-12)
    assert other.euclid == pytest.approx(plain.euclid, rel=1e-6) or plain.euclid < -1e6
    assert other.sqnr_db == pytest.approx(plain.sqnr_db, abs=1e-6)


@settings(max_examples=50)
@given(TENSORS)
def test_close_is_never_looser_than_allclose(pair):
    a, b = pair
    order = similarity(a, b).close_order
    if order:
        assert np.allclose(a.astype(float), b.astype(float), rtol=10.0**-order * (1 + 1e-9))


@settings(max_examples=50)
@given(TENSORS)
def test_only_the_same_values_are_perfect(pair):
    a, b = pair
    assert (similarity(a, b).max_difference == 0) == np.array_equal(a, b)
    assert (similarity(a, b).sqnr_db == math.inf) == np.array_equal(a, b)
