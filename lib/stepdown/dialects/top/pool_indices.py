"""Where in each window the largest value lies."""

from itertools import product
from typing import Any

import numpy as np

from stepdown.dialects.fields import Bool
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, top_op
from stepdown.dialects.top.pool import Pool


@top_op
class MaxPoolIndices(Pool):
    """The place of the first largest value in each window, counted over the whole operand. Source: ONNX MaxPool-22.

    With `column_major` the spatial dimensions are counted with the first one fastest. A window that sees only padding
    gives −1.
    """

    kind = Kind.FLOAT
    column_major = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry; rounding makes no two values equal."""
        operands, window = Pool.example(rng) or ([], {})
        shape = operands[0].shape
        return [rng.permutation(np.arange(operands[0].size, dtype=np.float32)).reshape(shape) / 8], window

    def elements(self, count: int) -> list[str]:
        """Return i64."""
        return ["i64"] * count

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the places, int64[N, C, *S']."""
        windows, places = self.windows(input.shape), self._places(input.shape)
        found = np.full((*input.shape[:2], *(w.count for w in windows)), -1, np.int64)
        best = np.zeros(found.shape, input.dtype)
        for taps in product(*(window.taps() for window in windows)):
            at: Any = (..., *(positions for positions, _ in taps))
            seen: Any = (..., *(elements for _, elements in taps))
            larger = (found[at] < 0) | (input[seen] > best[at])
            best[at] = np.where(larger, input[seen], best[at])
            found[at] = np.where(larger, places[seen], found[at])
        return [found]

    def _places(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the place of each element."""
        planes, size = shape[0] * shape[1], int(np.prod(shape[2:]))
        inside = np.arange(size).reshape(shape[2:], order="F" if self.column_major else "C")
        return np.arange(planes).reshape(*shape[:2], *[1] * (len(shape) - 2)) * size + inside
