import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.compare.top import top_indices


def test_the_largest_come_first():
    assert top_indices(np.array([[1.0, 5.0], [3.0, -9.0]]), 3) == [1, 2, 0]


def test_equal_ones_come_by_index():
    assert top_indices(np.array([2, 7, 7, 2, 7]), 4) == [1, 2, 4, 0]


def test_nan_come_first():
    assert top_indices(np.array([1.0, math.nan, 9.0]), 2) == [1, 2]


def test_more_than_there_are():
    assert top_indices(np.array([1, 2]), 10) == [1, 0]
    assert top_indices(np.zeros(0), 3) == []
    assert top_indices(np.float32(4), 3) == [0]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float16, np.float32, bool])
def test_every_type(dtype):
    assert top_indices(np.array([0, 1, 0]).astype(dtype), 1) == [1]


def test_extreme_integers():
    assert top_indices(np.array([-(2**63), 2**63 - 1, 0]), 3) == [1, 2, 0]
    assert top_indices(np.array([0, 2**64 - 1], np.uint64), 2) == [1, 0]


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(1, 40))
def test_it_is_the_head_of_the_sorted_list(values, count):
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert top_indices(np.array(values, np.int64), count) == expected
