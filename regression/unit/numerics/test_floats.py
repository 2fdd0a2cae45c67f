"""The 16-bit formats, rounded once, and sums that are rounded as if they were exact."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.numerics.accumulate import correctly_rounded, summed_exactly
from stepdown.numerics.floats import bf16_bits, from_bf16_bits, round_bf16, round_f16

FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38)


def nearest_bf16(x: float) -> float:
    """Return the bfloat16 value nearest to x, ties to even, by exact fractions."""
    if x == 0:
        return 0.0
    exponent = max(math.frexp(x)[1] - 8, -133)
    step = Fraction(2) ** exponent
    return float(round(Fraction(x) / step) * step)


@given(FLOATS)
def test_bf16_is_rounded_once(x):
    got = float(round_bf16(np.array([x], np.float64))[0])
    wanted = nearest_bf16(x)
    assert got == wanted or (math.isinf(got) and abs(wanted) > 3.3895314e38)


@given(st.integers(0, 0xFFFF))
def test_every_bf16_pattern_survives(bits):
    value = from_bf16_bits(np.array([bits], np.uint16))
    back = bf16_bits(value)[0]
    assert back == bits or np.isnan(value[0])


def test_both_formats_keep_what_is_not_a_number():
    special = np.array([np.nan, np.inf, -np.inf, -0.0])
    for rounding in (round_bf16, round_f16):
        np.testing.assert_array_equal(rounding(special), special.astype(np.float32))
    assert round_f16(np.array([65520.0]))[0] == np.inf


@pytest.mark.parametrize("rounding", [round_f16, round_bf16])
def test_sums_are_rounded_as_if_exact(rounding):
    rng = np.random.default_rng(1)
    terms = rng.normal(size=(200, 50)) * 10.0 ** rng.integers(-3, 3, (200, 50))
    terms[0], terms[1] = 0.0, np.tile([1e8, -1e8], 25)
    terms[1, 0] += 2.0**-20
    exact = np.array([float(sum(map(Fraction, row))) for row in terms])
    sloppy = exact + rng.uniform(-1, 1, len(exact)) * 1e-3
    got = correctly_rounded(sloppy, 1e-3, rounding, lambda index: terms[index])
    np.testing.assert_array_equal(got, rounding(exact))


def test_rows_that_are_said_to_be_summed_exactly_are():
    rng = np.random.default_rng(2)
    left = round_bf16(rng.normal(size=(4000, 12)) * 10.0 ** rng.integers(-9, 3, (4000, 1)))
    terms = left.astype(np.float64) * rng.integers(-40, 40, (4000, 12)) * (rng.random((4000, 12)) < 0.5)
    terms[::2, 0] *= 2.0**-40
    said = summed_exactly(terms, np.abs(terms).sum(axis=1))
    exact = [Fraction(float(row.sum())) == sum(map(Fraction, row.tolist())) for row in terms]
    assert 1000 < said.sum() < len(terms)
    assert not np.any(said & ~np.array(exact))
    assert not summed_exactly(np.array([[1.0, 2.0**-54]]), np.array([1.0]))[0]
