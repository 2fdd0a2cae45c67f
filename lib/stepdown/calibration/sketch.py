"""What is kept of a tensor's values: exact extremes, and a histogram whose size does not grow with the samples.

The histogram spans (−2^k, 2^k) in `2 × SIDE` bins; a value x falls into bin trunc(x × SIDE / 2^k). k is the least
exponent with |x| < 2^k for every value seen. Scaling by a power of two is exact, and trunc(trunc(y) / 2) is
trunc(y / 2), so doubling the range by merging pairs of bins gives the very histogram that the wider range would have
given: neither the order of the samples nor how they are split over sketches that are merged later changes a count.
Bin 0 holds the values on both sides of zero, so it is twice as wide as the others.
"""

import math
from dataclasses import dataclass, field

import numpy as np

SIDE = 2048
# The scale SIDE / 2^k stays a normal float32 for every finite float32 and for zero.
_MIN_EXPONENT = -100
_BLOCK = 1 << 16
# Neighbours are counted in tables of their own: equal values in a row would wait for each other.
_TABLES = 2
_TABLE_STARTS = (np.arange(_BLOCK) % _TABLES * (2 * SIDE) + SIDE).astype(np.int32)


@dataclass
class Sketch:
    """The values of one tensor: how many, their extremes, and how they are spread.

    `counts[SIDE + i]` is the number of values in bin i, of width `bin_width`; `minimum` and `maximum` are exact.
    """

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    exponent: int = _MIN_EXPONENT
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * SIDE, np.int64))

    @property
    def bin_width(self) -> float:
        """The width of a bin, in real units."""
        return math.ldexp(1.0, self.exponent) / SIDE

    @property
    def absmax(self) -> float:
        """The largest magnitude seen, 0 before any value."""
        return max(-self.minimum, self.maximum) if self.count else 0.0

    def update(self, values: np.ndarray) -> None:
        """Count the values of a float32 array of any shape.

        Raises:
            ValueError: a value is NaN or infinite; nothing is counted.
        """
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not math.isfinite(low + high):
            bad = flat.size - int(np.isfinite(flat).sum())
            if bad:
                raise ValueError(f"{bad} of {flat.size} values are NaN or infinite")
        self._widen(low, high)
        self.count += flat.size
        self._count_bins(flat)

    def merge(self, other: "Sketch") -> None:
        """Add what another sketch has seen."""
        self._widen(other.minimum, other.maximum)
        self.count += other.count
        self.counts += _halved(other.counts, self.exponent - other.exponent)

    def _widen(self, low: float, high: float) -> None:
        """Extend the extremes, and the range of the histogram with them; inf and −inf stand for nothing seen."""
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        largest = max(-low, high)
        if low > high or largest == 0:  # frexp gives 0 the exponent of 1
            return
        exponent = max(self.exponent, math.frexp(largest)[1])
        self.counts = _halved(self.counts, exponent - self.exponent)
        self.exponent = exponent

    def _count_bins(self, flat: np.ndarray) -> None:
        """Count block by block, so that every step works in the cache."""
        scale = np.float32(math.ldexp(SIDE, -self.exponent))
        size = min(_BLOCK, flat.size)
        scaled, short, bins = np.empty(size, np.float32), np.empty(size, np.int32), np.empty(size, np.intp)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            n = block.size
            np.multiply(block, scale, out=scaled[:n])
            np.copyto(short[:n], scaled[:n], casting="unsafe")
            np.add(short[:n], _TABLE_STARTS[:n], out=short[:n])
            np.copyto(bins[:n], short[:n])  # what bincount wants; float32 to int64 in one step is slower
            counted = np.bincount(bins[:n], minlength=_TABLES * 2 * SIDE)
            self.counts += counted.reshape(_TABLES, 2 * SIDE).sum(axis=0)


def _halved(counts: np.ndarray, times: int) -> np.ndarray:
    """Return the histogram over a range 2^`times` as wide."""
    if times == 0:
        return counts
    bins = np.arange(-SIDE, SIDE)
    merged = np.sign(bins) * (np.abs(bins) >> min(times, 62))
    wider = np.zeros_like(counts)
    np.add.at(wider, merged + SIDE, counts)
    return wider
