"""Convolution over elements that another tensor moves."""

import math

import numpy as np

from stepdown.dialects.fields import Int, Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape, shape_of
from stepdown.numerics.windows import Window


@top_op
class DeformConv(TopOp):
    """Convolution of input[N, C, H, W] sampled beside the grid, filter[O, C / group, *K]. Source: ONNX DeformConv.

    offset[N, offset_group · K · 2, *S'] holds how far down and right every sample lies off its place,
    mask[N, offset_group · K, *S'] what it is multiplied by. Samples are bilinear; beyond the border lies 0.

    C1: input and filter have two spatial dimensions; strides, dilations and pads fit them and are possible
    C2: the groups divide the channels of input and filter, the offset groups those of the input
    C3: offset and mask have one value a sample, the bias one an output channel
    """

    kind = Kind.FLOAT
    inputs = ("input", "filter", "offset", "bias?", "mask?")
    strides = Ints((1, 1))
    pads = Ints((0, 0, 0, 0))
    dilations = Ints((1, 1))
    group = Int(1)
    offset_group = Int(1)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        shapes = ((2, 4, 5, 6), (6, 2, 3, 2), (2, 24, 3, 7), (6,), (2, 12, 3, 7))
        given = {"strides": [2, 1], "pads": [1, 1, 1, 1], "group": 2, "offset_group": 2}
        return [rng.normal(size=shape) for shape in shapes], given

    def shapes(self, *inputs: Shape | None) -> list[Shape]:
        """Return [N, O, *S']."""
        given, weights, offset, bias, mask = (*inputs, None, None)[:5]
        assert given and weights and offset
        lengths = [len(self.strides), len(self.dilations), len(self.pads)]
        fits = len(given) == len(weights) == 4 and lengths == [2, 2, 4]
        possible = min((*self.strides, *self.dilations), default=0) > 0 and min(self.pads, default=0) >= 0
        self.require(fits and possible, "C1", f"{given}, {weights}, {self.strides}, {self.dilations}, {self.pads}")
        groups = self.group > 0 and given[1] == weights[1] * self.group and weights[0] % self.group == 0
        offsets = self.offset_group > 0 and given[1] % self.offset_group == 0
        self.require(groups and offsets, "C2", f"{given}, {weights}, {self.group} and {self.offset_group} groups")
        size = tuple(w.count for w in self._windows(given, weights))
        samples = self.offset_group * math.prod(weights[2:])
        same = bias in (None, weights[:1]) and mask in (None, (given[0], samples, *size))
        self.require(same and offset == (given[0], 2 * samples, *size), "C3", f"{offset}, {mask}, {bias}")
        return [(given[0], weights[0], *size)]

    def cost(self) -> int:
        """Return one multiply-accumulate an element of the filter and result."""
        return math.prod(shape_of(self.results[0])) * math.prod(shape_of(self.operands[1])[1:])

    def compute(self, *inputs: np.ndarray | None) -> Arrays:
        """Return the convolution."""
        x, weights, offset, bias, mask = (*inputs, None, None)[:5]
        assert x is not None and weights is not None and offset is not None
        n, o, *size = self.shapes(*(None if a is None else a.shape for a in inputs))[0]
        samples = self._sampled(x, weights, offset, mask).reshape(n, self.group, -1, math.prod(size))
        rows = weights.reshape(self.group, o // self.group, -1).astype(x.dtype, copy=False)
        y = np.matmul(rows, samples).reshape(n, o, *size)
        return [y if bias is None else y + bias.reshape(-1, 1, 1).astype(x.dtype, copy=False)]

    def _sampled(self, x: np.ndarray, weights: np.ndarray, offset: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Return the samples[N, offset_group, C / offset_group, K, *S']."""
        n, groups, taps = len(x), self.offset_group, math.prod(weights.shape[2:])
        size = offset.shape[2:]
        off = offset.reshape(n, groups, taps, 2, *size).astype(np.float64)
        rows, columns = (off[:, :, :, axis] + grid for axis, grid in enumerate(self._grid(x.shape, weights.shape)))
        planes = x.reshape(n, groups, -1, *x.shape[2:])
        flat = (a.reshape(n * groups, *a.shape[2:]) for a in (planes, rows, columns))
        found = np.stack([bilinear(*each) for each in zip(*flat, strict=True)]).reshape(n, groups, -1, taps, *size)
        factors = 1 if mask is None else mask.reshape(n, groups, 1, taps, *size)
        return (found * factors).astype(x.dtype, copy=False)

    def _windows(self, input: Shape, weights: Shape) -> list[Window]:
        each = zip(input[2:], weights[2:], self.strides, self.pads, self.pads[2:], self.dilations, strict=False)
        return [Window(n, k, s, begin, end, d) for n, k, s, begin, end, d in each]

    def _grid(self, input: Shape, weights: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Return the row and the column of every sample without its offset, [K, *S']."""
        axes = [
            np.arange(w.kernel)[:, None] * w.dilation + np.arange(w.count) * w.stride - w.begin
            for w in self._windows(input, weights)
        ]
        shape = (weights[2], weights[3], axes[0].shape[1], axes[1].shape[1])
        rows = np.broadcast_to(axes[0][:, None, :, None], shape)
        columns = np.broadcast_to(axes[1][None, :, None, :], shape)
        return rows.reshape(-1, *shape[2:]), columns.reshape(-1, *shape[2:])


def bilinear(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return planes[C, H, W] between their elements at `rows` and `columns` of any one shape; 0 beyond the border."""
    height, width = planes.shape[1:]
    top, left = np.floor(rows), np.floor(columns)
    total = np.zeros((len(planes), *rows.shape), planes.dtype)
    for row, by_row in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, by_column in ((left, left + 1 - columns), (left + 1, columns - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at_row, at_column = (np.where(inside, at, 0).astype(np.int64) for at in (row, column))
            total += planes[:, at_row, at_column] * (inside * by_row * by_column).astype(planes.dtype)
    return total
