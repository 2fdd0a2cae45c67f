"""Convolutions against the sums written out."""

import itertools

import numpy as np
import pytest

from stepdown.numerics.convolve import convolve, deconvolve, output_size, pad_spatial

CASES = [
    # N, C, O, group, size, kernel, strides, pads, dilations
    (1, 3, 4, 1, (7, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (2, 4, 4, 4, (8, 5), (3, 2), (2, 1), (0, 1, 1, 0), (1, 2)),
    (1, 4, 6, 2, (5, 5), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    (1, 4, 6, 2, (6, 5), (2, 3), (1, 2), (2, 0, 0, 1), (2, 1)),
    (2, 2, 3, 1, (9,), (3,), (2,), (1, 2), (2,)),
    (1, 2, 2, 1, (4, 4, 3), (2, 2, 2), (1, 1, 1), (0, 0, 0, 1, 0, 1), (1, 1, 1)),
]


def written_out(x, w, strides, pads, dilations, group):
    x = pad_spatial(x, pads)
    size = [output_size(n, k, s, 0, d) for n, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True)]
    out = np.zeros((len(x), len(w), *size))
    per_group = len(w) // group
    for n, o, *at in itertools.product(range(len(x)), range(len(w)), *map(range, size)):
        for c, *tap in itertools.product(*map(range, w.shape[1:])):
            place = [a * s + t * d for a, s, t, d in zip(at, strides, tap, dilations, strict=True)]
            out[n, o, *at] += x[n, o // per_group * w.shape[1] + c, *place] * w[o, c, *tap]
    return out


@pytest.mark.parametrize("case", CASES)
def test_convolve(case):
    n, c, o, group, size, kernel, strides, pads, dilations = case
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (n, c, *size)).astype(float), rng.integers(-9, 9, (o, c // group, *kernel)).astype(float)
    got = convolve(x, w, strides, pads, dilations, group)
    np.testing.assert_array_equal(got, written_out(x, w, strides, pads, dilations, group))


@pytest.mark.parametrize("case", CASES)
def test_deconvolve_is_the_transpose_of_convolve(case):
    n, c, o, group, size, kernel, strides, pads, dilations = case
    rng = np.random.default_rng(0)
    w = rng.integers(-9, 9, (o, c // group, *kernel)).astype(float)
    x = rng.integers(-9, 9, (n, c, *size)).astype(float)
    y = convolve(x, w, strides, pads, dilations, group)
    g = rng.integers(-9, 9, y.shape).astype(float)
    back = deconvolve(g, w, strides, pads, dilations, group, size)
    assert (y * g).sum() == (x * back).sum()
