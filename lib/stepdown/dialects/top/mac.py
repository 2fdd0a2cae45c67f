"""Ops made of multiply-accumulates: convolutions and matrix products."""

import math

import numpy as np

from stepdown.dialects.fields import Bool, Int, Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, Fused, broadcast, top_op
from stepdown.dialects.types import Shape, shape_of
from stepdown.numerics.convolve import convolve, deconvolve, output_size


class Window(Fused):
    """An op with a window over the spatial dimensions; `pads` holds all begins, then all ends."""

    kind = Kind.MAC
    inputs = ("input", "filter", "bias?")
    strides = Ints()
    pads = Ints()
    dilations = Ints()
    group = Int(1)

    def check_window(self, input: Shape, filter: Shape) -> None:
        """Check that ranks and lengths agree."""
        rank = len(input) - 2
        lengths = (len(self.strides), len(self.pads), len(self.dilations))
        self.require(len(filter) == len(input) >= 3 and lengths == (rank, 2 * rank, rank), "C1", f"{input}, {filter}")
        self.require(min((*self.strides, *self.dilations, self.group)) >= 1, "C2", f"{self.strides}")

    def add_bias(self, y: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """Add bias[O] to y[N, O, *S] in place."""
        if bias is not None:
            y += bias.reshape(1, -1, *([1] * (y.ndim - 2))).astype(y.dtype, copy=False)
        return y


@top_op
class Conv(Window):
    """Convolution over 1, 2 or 3 spatial dimensions, filter[O, C / group, *K]. Source: ONNX Conv.

    C1: input and filter have the same rank, strides, dilations and pads fit it
    C2: strides, dilations and group are at least 1
    C3: the input has group × filter channels, and group divides the output channels
    C4: the bias has one value an output channel
    C5: the window fits into the padded input
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        arrays = [rng.normal(size=size) for size in ((2, 4, 5, 6), (6, 2, 3, 2), (6,))]
        return arrays, {"strides": [1, 2], "pads": [1, 0, 1, 1], "dilations": [1, 2], "group": 2}

    def shapes(self, input: Shape, filter: Shape, bias: Shape | None) -> list[Shape]:
        """Return [N, O, *S']."""
        self.check_window(input, filter)
        channels_agree = input[1] == filter[1] * self.group and filter[0] % self.group == 0
        self.require(channels_agree, "C3", f"{input[1]} channels, filter {filter}, group {self.group}")
        self.require(bias is None or bias == (filter[0],), "C4", f"{bias}")
        pads = [b + e for b, e in zip(self.pads, self.pads[len(input) - 2 :], strict=False)]
        size = tuple(map(output_size, input[2:], filter[2:], self.strides, pads, self.dilations))
        self.require(min(size) >= 1, "C5", f"{input} with kernel {filter[2:]}")
        return [(input[0], filter[0], *size)]

    def compute(self, input: np.ndarray, filter: np.ndarray, bias: np.ndarray | None) -> Arrays:
        """Return the convolution of input[N, C, *S]."""
        return [self.activate(self.add_bias(self.accumulate(input, filter), bias))]

    def accumulate(self, input: np.ndarray, filter: np.ndarray) -> np.ndarray:
        """Return the sums of products alone."""
        return convolve(input, filter, self.strides, self.pads, self.dilations, self.group)

    def cost(self) -> int:
        """Return N·O·S'·C/group·K."""
        return math.prod(shape_of(self.results[0])) * math.prod(shape_of(self.operands[1])[1:])


@top_op
class ConvTranspose(Window):
    """Transposed convolution, filter[C, O / group, *K]. Source: ONNX ConvTranspose.

    C1: input and filter have the same rank, strides, dilations and pads fit it
    C2: strides, dilations and group are at least 1
    C3: the input has as many channels as the filter, and group divides them
    C4: the bias has one value an output channel
    C5: the output is at least one element wide
    """

    output_padding = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        arrays = [rng.normal(size=size) for size in ((2, 4, 3, 4), (4, 3, 3, 2), (6,))]
        window = {"strides": [2, 1], "pads": [1, 0, 0, 1], "dilations": [1, 2], "output_padding": [1, 0]}
        return arrays, {**window, "group": 2}

    def shapes(self, input: Shape, filter: Shape, bias: Shape | None) -> list[Shape]:
        """Return [N, O, *S']."""
        self.check_window(input, filter)
        rank, channels = len(input) - 2, filter[1] * self.group
        self.require(
            input[1] == filter[0] and filter[0] % self.group == 0, "C3", f"{input[1]} channels, filter {filter}"
        )
        self.require(bias is None or bias == (channels,), "C4", f"{bias}")
        size = tuple(
            self.strides[i] * (input[2 + i] - 1) + self.output_padding[i] + self.dilations[i] * (filter[2 + i] - 1) + 1
            - self.pads[i] - self.pads[i + rank]
            for i in range(rank)
        )  # fmt: skip
        self.require(min(size) >= 1, "C5", f"{size}")
        return [(input[0], channels, *size)]

    def compute(self, input: np.ndarray, filter: np.ndarray, bias: np.ndarray | None) -> Arrays:
        """Return the transposed convolution of input[N, C, *S]."""
        return [self.activate(self.add_bias(self.accumulate(input, filter), bias))]

    def accumulate(self, input: np.ndarray, filter: np.ndarray) -> np.ndarray:
        """Return the sums of products alone."""
        size = self.shapes(input.shape, filter.shape, None)[0][2:]
        return deconvolve(input, filter, self.strides, self.pads, self.dilations, self.group, size)

    def cost(self) -> int:
        """Return N·C·S·O/group·K."""
        return math.prod(shape_of(self.operands[0])) * math.prod(shape_of(self.operands[1])[1:])


@top_op
class MatMul(Fused):
    """Matrix product of the last two dimensions, the others broadcast, plus a bias[N]. Source: ONNX MatMul, Gemm.

    C1: the inner dimensions agree
    C2: the bias has one value a column of the result
    """

    kind = Kind.MAC
    inputs = ("input", "right", "bias?")
    right_transpose = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=size) for size in ((2, 3, 4), (5, 4), (5,))], {"right_transpose": True}

    def shapes(self, input: Shape, right: Shape, bias: Shape | None) -> list[Shape]:
        """Return [..., M, N]; a one-dimensional operand loses its dimension as in numpy.matmul."""
        if self.right_transpose:
            right = (*right[:-2], right[-1], right[-2])
        inner = right[-2] if len(right) > 1 else right[-1]
        self.require(len(input) > 0 and len(right) > 0 and input[-1] == inner, "C1", f"{input} × {right}")
        rows, columns = input[-2:-1], right[-1:] if len(right) > 1 else ()
        self.require(bias is None or bias == columns, "C2", f"{bias}")
        return [(*broadcast(input[:-2], right[:-2]), *rows, *columns)]

    def compute(self, input: np.ndarray, right: np.ndarray, bias: np.ndarray | None) -> Arrays:
        """Return input[..., M, K] × right[..., K, N] + bias[N]."""
        y = self.accumulate(input, right)
        if bias is not None:
            y += bias.astype(y.dtype, copy=False)
        return [self.activate(y)]

    def accumulate(self, input: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the sums of products alone."""
        return np.asarray(np.matmul(input, right.swapaxes(-1, -2) if self.right_transpose else right))

    def cost(self) -> int:
        """Return the number of results times the inner dimension."""
        return math.prod(shape_of(self.results[0])) * shape_of(self.operands[0])[-1]
