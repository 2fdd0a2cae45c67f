"""Windows that slide over a tensor, one axis after the other: what pooling and local normalisation fold.

A maximum or a sum over a box is the same fold along each of its axes, so k + k steps do the work of k × k.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A window along one axis of `size` elements; elements added before and after are padding."""

    size: int
    kernel: int
    stride: int = 1
    begin: int = 0
    end: int = 0
    dilation: int = 1
    ceil_mode: bool = False

    @property
    def count(self) -> int:
        """The number of positions; in ceil mode a last one may reach beyond the padding, but not start behind the data.

        Source: ONNX MaxPool-22, AveragePool-22.
        """
        span = self.size + self.begin + self.end - self.dilation * (self.kernel - 1) - 1
        if not self.ceil_mode:
            return span // self.stride + 1
        count = -(-span // self.stride) + 1
        return count - ((count - 1) * self.stride >= self.size + self.begin)

    @property
    def whole(self) -> bool:
        """Tell whether its one position covers just the whole axis."""
        return self.kernel == self.size and self.begin == self.end == 0 and self.dilation == 1

    def taps(self, before: int = 0, after: int = 0) -> Iterator[tuple[slice, slice]]:
        """For each element of the kernel, return the positions where it meets data, and which data it meets there.

        `before` and `after` count padding as data.
        """
        nearest = self.begin - before - (self.count - 1) * self.stride  # a window may be far wider than the data
        furthest = self.begin + self.size - 1 + after
        for tap in range(max(0, -(-nearest // self.dilation)), min(self.kernel, furthest // self.dilation + 1)):
            offset = tap * self.dilation - self.begin
            first = max(0, -((offset + before) // self.stride))
            last = min(self.count, (self.size - 1 + after - offset) // self.stride + 1)
            if first < last:
                start = first * self.stride + offset
                stop = (last - 1) * self.stride + offset + 1
                yield slice(first, last), slice(start, stop, self.stride)

    def counts(self, include_padding: bool) -> np.ndarray:
        """Return how many elements each position covers, int64[count]."""
        counts = np.zeros(self.count, np.int64)
        before, after = (self.begin, self.end) if include_padding else (0, 0)
        for positions, _ in self.taps(before, after):
            counts[positions] += 1
        return counts


def fold(x: np.ndarray, axis: int, window: Window, combine: np.ufunc, empty: float) -> np.ndarray:
    """Return the fold by `combine` of what a window over `axis` covers; `empty` where it covers padding alone."""
    front = (slice(None),) * axis
    taps = list(window.taps())
    everywhere = slice(0, window.count)
    start = next((at for at, (positions, _) in enumerate(taps) if positions == everywhere), None)
    if start is None:
        out = np.full((*x.shape[:axis], window.count, *x.shape[axis + 1 :]), empty, x.dtype)
    else:
        out = x[*front, taps.pop(start)[1]].copy()
    for positions, elements in taps:
        target = out[*front, positions]
        combine(target, x[*front, elements], out=target)
    return out
