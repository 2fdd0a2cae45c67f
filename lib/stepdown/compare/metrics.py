"""How alike two tensors are: cosine, euclidean similarity, SQNR and closeness, summed in float64.

Tensors are read in blocks that stay in the cache, so no float64 copy of a whole tensor is made.
"""

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 8192
CLOSE_ORDERS = (7, 6, 5, 4, 3)
LOOSEST_CLOSE = 10.0 ** -CLOSE_ORDERS[-1]
_CLOSE_ATOL = 1e-8
# Peaks between these exponents can be squared and summed in float64, and so can differences 2^-52 as large.
_SAFE_EXPONENTS = (-400, 480)


@dataclass(frozen=True)
class Similarity:
    """How alike a target a is to its reference b.

    `cosine` is a·b / (‖a‖‖b‖): 1 where both are zero, 0 where one is.
    `euclid` is 1 − ‖a−b‖ / ‖(a+b)/2‖: 1 where a equals b, −inf where a = −b.
    `sqnr_db` is 10·log10(Σ(b − mean b)² / Σ(a − b)²): inf where a equals b, −inf where b is constant and a differs. The
    mean of the noise is not removed, so that a constant offset counts.
    `close_order` is the largest o of 3 … 7 for which |a−b| ≤ atol + 10^-o·|b| everywhere, 0 where there is none;
    atol is 1e-8, or 1e-8·max|b| where that is less: so tensors of tiny values are not all close to each other.
    """

    cosine: float
    euclid: float
    sqnr_db: float
    close_order: int
    max_difference: float


SAME = Similarity(1.0, 1.0, math.inf, CLOSE_ORDERS[0], 0.0)


def similarity(target: np.ndarray, reference: np.ndarray) -> Similarity:
    """Compare two tensors of the same number of finite real elements, of any float or integer types."""
    a, b = np.ravel(target), np.ravel(reference)
    peak_a, peak_b = peak(a), peak(b)
    if not peak_a and not peak_b:
        return SAME
    if not _extreme(peak_a) and not _extreme(peak_b):
        sums = _Sums(a, b, peak_b)
        return _similarity(sums, sums, sums.largest)
    common = max(_exponent(peak_a), _exponent(peak_b))
    own = _Sums(_scaled(a, _exponent(peak_a)), _scaled(b, _exponent(peak_b)), 0.0)
    sums = _Sums(_scaled(a, common), _scaled(b, common), math.ldexp(peak_b, -common), atol=0.0)
    return _similarity(own, sums, _ldexp(sums.largest, common))


def peak(x: np.ndarray) -> float:
    """Return max|x| as a float: 0 for an empty tensor, NaN or infinite where an element is."""
    if not x.size:
        return 0.0
    low, high = float(x.min()), float(x.max())
    return max(-low, high) if low == low else math.nan


class _Sums:
    """The float64 sums of one walk over a and b that all similarities are made of."""

    def __init__(self, a: np.ndarray, b: np.ndarray, peak_b: float, atol: float = _CLOSE_ATOL) -> None:
        self.atol = min(atol, _CLOSE_ATOL * peak_b)
        self.origin = float(b[0])  # moments of b are taken about one of its elements: a constant has no variance at all
        self.count = b.size
        self.aa = self.bb = self.ab = self.noise = self.first = self.second = self.largest = 0.0
        self.worst_ratio = -math.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            for start in range(0, b.size, BLOCK):
                self._add(a[start : start + BLOCK].astype(np.float64), b[start : start + BLOCK].astype(np.float64))

    def _add(self, a: np.ndarray, b: np.ndarray) -> None:
        difference = a - b
        self.aa += float(a @ a)
        self.bb += float(b @ b)
        self.ab += float(a @ b)
        self.noise += float(difference @ difference)
        np.abs(difference, out=difference)
        self.largest = max(self.largest, float(difference.max()))
        if self.worst_ratio <= LOOSEST_CLOSE:
            self._close(difference, b)
        b -= self.origin
        self.first += float(b.sum())
        self.second += float(b @ b)

    def _close(self, difference: np.ndarray, b: np.ndarray) -> None:
        """Take in the largest (|a−b| − atol) / |b|; 0/0 is as close as can be."""
        difference -= self.atol
        difference /= np.abs(b)
        self.worst_ratio = max(self.worst_ratio, float(np.fmax.reduce(difference)))

    @property
    def signal(self) -> float:
        """Σ(b − mean b)²."""
        return max(0.0, self.second - self.first * self.first / self.count)


def _similarity(own: _Sums, sums: _Sums, largest: float) -> Similarity:
    """Build the result; `own` sums each tensor in its own scale, `sums` both in one."""
    return Similarity(_cosine(own), _euclid(sums), _sqnr(sums), _close_order(sums.worst_ratio), largest)


def _cosine(sums: _Sums) -> float:
    if not sums.aa or not sums.bb:
        return 0.0
    return max(-1.0, min(1.0, sums.ab / math.sqrt(sums.aa) / math.sqrt(sums.bb)))


def _euclid(sums: _Sums) -> float:
    middle = math.sqrt(max(0.0, sums.aa + sums.bb + 2 * sums.ab)) / 2
    return 1 - math.sqrt(sums.noise) / middle if middle else -math.inf


def _sqnr(sums: _Sums) -> float:
    if not sums.noise:
        return math.inf
    return 10 * (math.log10(sums.signal) - math.log10(sums.noise)) if sums.signal else -math.inf


def _close_order(worst_ratio: float) -> int:
    return next((order for order in CLOSE_ORDERS if worst_ratio <= 10.0**-order), 0)


def _exponent(value: float) -> int:
    return math.frexp(value)[1]


def _extreme(value: float) -> bool:
    return bool(value) and not _SAFE_EXPONENTS[0] < _exponent(value) < _SAFE_EXPONENTS[1]


def _scaled(x: np.ndarray, exponent: int) -> np.ndarray:
    """Return x·2^-exponent in float64, without the overflow that 2^-exponent itself may have."""
    return np.ldexp(x.astype(np.float64), -exponent)


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
