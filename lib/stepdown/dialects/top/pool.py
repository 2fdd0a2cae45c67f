"""Pooling: what a window over the spatial dimensions sees, as one value."""

from functools import reduce

import numpy as np

from stepdown.dialects.fields import Bool, Int, Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape
from stepdown.numerics.windows import Window, fold


def lowest(dtype: np.dtype) -> float:
    """Return what no value of a type is below: −∞, or the smallest integer."""
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


class Pool(TopOp):
    """A fold over windows of input[N, C, *S]; `pads` holds all begins, then all ends.

    C1: the input has at least one spatial dimension; kernel_shape, strides, dilations and pads fit it
    C2: kernel_shape, strides and dilations are at least 1, pads at least 0
    C3: the window fits into the padded input
    """

    kind = Kind.POOL
    kernel_shape = Ints()
    strides = Ints()
    pads = Ints()
    dilations = Ints()
    ceil_mode = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        window = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 2)}
        return [rng.standard_normal((2, 3, 8, 9)).astype(np.float32)], window

    def shapes(self, input: Shape) -> list[Shape]:
        """Return [N, C, *S']."""
        rank = len(input) - 2
        lengths = [len(self.kernel_shape), len(self.strides), len(self.dilations), len(self.pads)]
        self.require(rank >= 1 and lengths == [rank, rank, rank, 2 * rank], "C1", f"{input}, {self.kernel_shape}")
        least = min(*self.kernel_shape, *self.strides, *self.dilations)
        self.require(least >= 1 and min(self.pads) >= 0, "C2", f"{self.kernel_shape}, {self.strides}, {self.pads}")
        size = tuple(window.count for window in self.windows(input))
        self.require(min(size) >= 1, "C3", f"{input} with kernel {self.kernel_shape}")
        return [(*input[:2], *size)]

    def windows(self, input: Shape) -> list[Window]:
        """Return the window over each spatial dimension."""
        ends = self.pads[len(self.kernel_shape) :]
        each = zip(input[2:], self.kernel_shape, self.strides, self.pads, ends, self.dilations, strict=False)
        return [Window(n, k, s, begin, end, d, self.ceil_mode) for n, k, s, begin, end, d in each]

    def fold(self, x: np.ndarray, combine: np.ufunc, empty: float) -> np.ndarray:
        """Return the fold of each window by `combine`, [N, C, *S'] in the type of x."""
        windows = self.windows(x.shape)
        if all(window.whole for window in windows):
            return np.asarray(combine.reduce(x, axis=tuple(range(2, x.ndim)), keepdims=True, dtype=x.dtype))
        for axis, window in enumerate(windows, 2):
            x = fold(x, axis, window, combine, empty)
        return x


@top_op
class MaxPool(Pool):
    """The largest value in each window. Source: ONNX MaxPool, GlobalMaxPool."""

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the maxima."""
        return [self.fold(input, np.maximum, lowest(input.dtype))]


@top_op
class AveragePool(Pool):
    """The mean of each window, its padding not counted unless asked. Source: ONNX AveragePool, GlobalAveragePool."""

    count_include_pad = Bool(False)

    def compute(self, input: np.ndarray) -> Arrays:
        """Return sums / counts."""
        y = self.sums(input)
        y /= self.counts(input.shape).astype(y.dtype)
        return [y]

    def sums(self, input: np.ndarray) -> np.ndarray:
        """Return the sum of each window, padding 0, [N, C, *S'] in the type of the input.

        Exact for integers as long as the type holds every partial sum.
        """
        return self.fold(input, np.add, 0)

    def counts(self, input: Shape) -> np.ndarray:
        """Return the number by which the sum at each position is divided, int64[*S'], at least 1."""
        counts = [window.counts(self.count_include_pad) for window in self.windows(input)]
        return np.maximum(reduce(np.multiply.outer, counts), 1)


@top_op
class LpPool(Pool):
    """The p-norm of each window. Source: ONNX LpPool, GlobalLpPool.

    C4: p is at least 1
    """

    kind = Kind.FLOAT
    p = Int(2)

    def shapes(self, input: Shape) -> list[Shape]:
        """Return [N, C, *S']."""
        self.require(self.p >= 1, "C4", f"{self.p}")
        return super().shapes(input)

    def compute(self, input: np.ndarray) -> Arrays:
        """Return (Σ |x|^p)^(1/p)."""
        sums = self.fold(np.abs(input) ** self.p, np.add, 0)
        return [sums ** (1 / self.p)]
