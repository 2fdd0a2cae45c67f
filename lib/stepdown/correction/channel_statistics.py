"""What samples show of the channels of a tensor, and how much of it lies beyond a threshold."""

from dataclasses import dataclass, field

import numpy as np

_SHIFT = 20
# Float bits below which two magnitudes count as one: eight bins an octave.
_FIRST = (127 - 20) << 3
_BINS = 40 << 3
# From 2⁻²⁰ to 2²⁰; what lies outside counts in the first and the last bin.
_EDGES = ((np.arange(_BINS + 1, dtype=np.int32) + _FIRST) << _SHIFT).view(np.float32).astype(np.float64)


@dataclass
class ChannelStatistics:
    """Largest magnitude, sum of squares and histogram of magnitudes [C, bins] of each channel, and values a channel."""

    channels: int
    count: int = 0
    largest: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)
    histogram: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.largest, self.squares = np.zeros(self.channels), np.zeros(self.channels)
        self.histogram = np.zeros((self.channels, _BINS), np.int32)

    def add(self, flat: np.ndarray) -> None:
        """Take in values [C, P]."""
        flat = np.abs(flat, dtype=np.float32, order="C")
        self.largest = np.maximum(self.largest, flat.max(axis=1, initial=0.0))
        self.squares = self.squares + np.einsum("cp,cp->c", flat, flat, dtype=np.float64)
        bins = np.clip((flat.view(np.int32) >> _SHIFT) - _FIRST, 0, _BINS - 1)
        bins += np.arange(self.channels, dtype=np.int32)[:, None] * _BINS
        counts = np.bincount(bins.reshape(-1), minlength=self.channels * _BINS)
        self.histogram += counts.reshape(self.channels, _BINS).astype(np.int32)
        self.count += flat.shape[1]

    def __add__(self, other: "ChannelStatistics") -> "ChannelStatistics":
        both = ChannelStatistics(self.channels, self.count + other.count)
        both.largest = np.maximum(self.largest, other.largest)
        both.squares, both.histogram = self.squares + other.squares, self.histogram + other.histogram
        return both

    def power(self) -> np.ndarray:
        """Return the mean square [C] of each channel."""
        return np.asarray(self.squares / max(1, self.count))

    def excess(self, thresholds: np.ndarray) -> np.ndarray:
        """Return E[(|x| - t)²₊] of each channel beyond its threshold [C], values spread evenly within a bin.

        The integral of (x - t)² over a bin, from t where t lies in it, is ((hi - t)³ - (lo - t)³₊) / 3.
        """
        beyond = np.maximum(_EDGES[None, :] - thresholds[:, None], 0.0) ** 3
        means = np.diff(beyond, axis=1) / (3 * np.diff(_EDGES))
        counts = np.where(self.largest[:, None] > thresholds[:, None], self.histogram, 0)
        return np.asarray((means * counts).sum(axis=1) / max(1, self.count))
