import math

import numpy as np
import pytest

from stepdown.compare.statistics import channel_statistics, statistics


def test_values_computed_by_hand():
    s = statistics(np.float32([[1, -2], [0, 5]]))
    assert (s.count, s.minimum, s.maximum, s.mean, s.abs_mean, s.zeros, s.nan, s.inf) == (4, -2, 5, 1, 2, 1, 0, 0)
    assert s.variance == pytest.approx(26 / 4)
    assert (s.std, s.span) == (pytest.approx(math.sqrt(6.5)), 7)


def test_extremes_keep_their_type():
    assert type(statistics(np.float32([0.1])).maximum) is np.float32
    assert statistics(np.array([2**53 + 1])).maximum == 2**53 + 1


def test_what_is_not_finite_is_counted_and_left_out():
    s = statistics(np.array([1, math.nan, math.inf, -math.inf, 3]))
    assert (s.count, s.mean, s.nan, s.inf) == (5, 2, 1, 2)
    none = statistics(np.array([math.nan]))
    assert (none.mean, none.std, none.variance, none.span, none.nan) == (None, None, None, None, 1)
    assert statistics(np.zeros(0)).minimum is None


def test_sums_do_not_lose_digits():
    assert statistics(np.full(1 << 20, 0.1, np.float32)).mean == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_channels():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert [s.mean for s in channel_statistics(x, 1)] == [x[:, i].mean() for i in range(3)]
    assert len(channel_statistics(x, -1)) == 4
