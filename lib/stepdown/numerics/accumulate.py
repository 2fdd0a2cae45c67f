"""Sums of products: exact for integers through floating-point BLAS, correctly rounded for the 16-bit formats."""

import math
from collections.abc import Callable

import numpy as np

F32_EXACT = 1 << 24
ACCUMULATOR_MAX = (1 << 31) - 1


def exact_dtype(weight: np.ndarray, input_max: int) -> type:
    """Return the float type whose BLAS sums integer products exactly: float32 while Σ|w|·max|x| < 2^24, else float64.

    `weight` is an 8-bit one without its zero point, output channels first; every partial sum, in any order, is at most
    Σ|w|·max|x|.
    """
    magnitudes = np.abs(weight.astype(np.int16, copy=False)).reshape(len(weight), -1)
    largest = int(magnitudes.sum(axis=1, dtype=np.int64).max(initial=0))
    return np.float32 if largest * input_max < F32_EXACT else np.float64


def correctly_rounded(
    total: np.ndarray,
    bound: np.ndarray | float,
    round_to: Callable[[np.ndarray], np.ndarray],
    terms_at: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Round float64 sums to a format as if they were exact.

    `total` is off from the exact sum by at most `bound` (broadcast against it). Where both ends of that interval
    round to one value, this is it; elsewhere `terms_at(flat_indices[N])` returns the addends [N, K] in float64, each
    exact, and the sum is made anew: with the bound of its own addends, then by `math.fsum`.
    """
    rounded = round_to(total)
    unsure = np.flatnonzero((round_to(total - bound) != round_to(total + bound)) & np.isfinite(total))
    flat = rounded.reshape(-1)
    for start in range(0, unsure.size, 4096):
        index = unsure[start : start + 4096]
        flat[index] = _sum_terms(terms_at(index), round_to)
    return flat.reshape(total.shape)


def sum_bound(terms: int, weight_abs_sum: np.ndarray, input_max: float) -> np.ndarray:
    """Return the bound K·2^−53·max|x|·Σ|w| on the error of a float64 sum of K exact products (Higham 2002, §3.1)."""
    return (terms + 1) * 2.0**-53 * input_max * weight_abs_sum


def _sum_terms(terms: np.ndarray, round_to: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    total, sizes = terms.sum(axis=1), np.abs(terms).sum(axis=1)
    bound = (terms.shape[1] + 1) * 2.0**-53 * sizes
    unsure = np.flatnonzero(round_to(total - bound) != round_to(total + bound))
    unsure = unsure[~summed_exactly(terms[unsure], sizes[unsure])]
    total[unsure] = [math.fsum(row) for row in terms[unsure].tolist()]
    return round_to(total)


def summed_exactly(terms: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Tell of each row of addends[N, K] whether float64 sums it without any error, in whatever order.

    All addends are whole multiples of the least place that one of them has, and the sum of their magnitudes, `sizes`,
    is less than 2^53 of it: so every partial sum is held exactly. Such are the ties, which no bound decides.
    """
    fraction, exponent = np.frexp(terms)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    lowest = exponent - 54 + np.frexp((whole & -whole).astype(np.float64))[1]
    least = np.where(whole == 0, np.iinfo(np.int32).max, lowest).min(axis=1, initial=2000)
    return np.asarray(sizes < np.ldexp(1.0, np.minimum(least + 52, 1000)))
