"""Ops that sample a feature map between its elements, at places that another tensor gives."""

import itertools
import math

import numpy as np

from stepdown.dialects.fields import Bool, Float, Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.top.resize import cubic
from stepdown.dialects.types import Shape

_CUBIC_A = -0.75


@top_op
class GridSample(TopOp):
    """The operand at grid[N, *O, D]: x first, −1…1 from border to border of each dimension. Source: ONNX GridSample-22.

    The border is the middle of the outermost element with `align_corners`, else its outer edge. Beyond it lie zeros,
    the outermost element, or the operand mirrored at the border.

    C1: input[N, C, *S] and grid[N, *O, D] have one rank, one N, and D is the number of spatial dimensions
    """

    kind = Kind.FLOAT
    inputs = ("input", "grid")
    mode = Str("linear", ("linear", "nearest", "cubic"))
    padding_mode = Str("zeros", ("zeros", "border", "reflection"))
    align_corners = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.3, 1.3, (2, 3, 6, 2))], {"padding_mode": "reflection"}

    def shapes(self, input: Shape, grid: Shape) -> list[Shape]:
        """Return [N, C, *O]."""
        fits = len(input) == len(grid) >= 3 and input[0] == grid[0] and grid[-1] == len(input) - 2
        self.require(fits, "C1", f"{input}, {grid}")
        return [(*input[:2], *grid[1:-1])]

    def compute(self, input: np.ndarray, grid: np.ndarray) -> Arrays:
        """Return the samples."""
        n, c, *size = input.shape
        flat = input.reshape(n, c, -1)
        total = np.zeros((n, c, math.prod(grid.shape[1:-1])), input.dtype)
        axes = [self._taps(grid[..., -1 - axis].reshape(n, -1), length) for axis, length in enumerate(size)]
        for taps in itertools.product(*axes):
            place, weight = np.zeros((n, 1), np.int64), np.ones((n, 1))
            for (position, part), length in zip(taps, size, strict=True):
                place, weight = place * length + position, weight * part
            for batch in range(n):
                total[batch] += np.take(flat[batch], place[batch], 1) * weight[batch].astype(input.dtype)
        return [total.reshape(n, c, *grid.shape[1:-1])]

    def _taps(self, normal: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return positions and weights of the elements that each coordinate of one dimension is a sum of."""
        at = (normal + 1) / 2 * (size - 1) if self.align_corners else ((normal + 1) * size - 1) / 2
        at = np.rint(at) if self.mode == "nearest" else at
        at = self._mirrored(at, size) if self.padding_mode == "reflection" else at
        low = np.floor(at)
        steps = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[self.mode]
        return [self._tap(low + step, self._weight(np.abs(at - low - step)), size) for step in steps]

    def _tap(self, position: np.ndarray, weight: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        if self.padding_mode == "zeros":
            weight = np.where((position < 0) | (position >= size), 0, weight)
        elif self.padding_mode == "reflection":
            position = self._mirrored(position, size)
        return np.clip(np.nan_to_num(position), 0, size - 1).astype(np.int64), weight

    def _mirrored(self, at: np.ndarray, size: int) -> np.ndarray:
        """Return coordinates mirrored at the borders until they are inside."""
        low, high = (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)
        if high == low:
            return np.full_like(at, low)
        flips, rest = np.divmod(np.where(at < low, low - at, at - high), high - low)
        from_low = (at < low) == (flips % 2 == 0)
        mirrored = np.where(from_low, low + rest, high - rest)
        return np.where((at < low) | (at > high), mirrored, at)

    def _weight(self, distance: np.ndarray) -> np.ndarray:
        if self.mode == "nearest":
            return np.ones_like(distance)
        return 1 - distance if self.mode == "linear" else cubic(distance, _CUBIC_A)


@top_op
class RoiAlign(TopOp):
    """Each region x₁ y₁ x₂ y₂ of rois[R, 4] pooled to output_height × output_width. Source: ONNX RoiAlign-22.

    Every cell is the mean (or the greatest weighted element) of sampling_ratio² bilinear samples; 0 takes as many as
    the cell has elements. A sample farther than one element outside is 0.

    C1: input is [N, C, H, W], rois [R, 4] and batch_indices [R]
    C2: the output is at least one cell, and sampling_ratio at least 0
    """

    kind = Kind.FLOAT
    inputs = ("input", "rois", "batch_indices")
    mode = Str("avg", ("avg", "max"))
    coordinate_transformation_mode = Str("half_pixel", ("half_pixel", "output_half_pixel"))
    output_height = Int(1)
    output_width = Int(1)
    sampling_ratio = Int(0)
    spatial_scale = Float(1.0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        rois = np.array([[0, 0, 4, 5], [1, 2, 3.5, 2.5]], float)
        return [rng.normal(size=(2, 3, 6, 7)), rois, np.array([1, 0])], {"output_height": 2, "output_width": 3}

    def shapes(self, input: Shape, rois: Shape, batch_indices: Shape) -> list[Shape]:
        """Return [R, C, output_height, output_width]."""
        fits = len(input) == 4 and rois == (*batch_indices, 4) and len(batch_indices) == 1
        self.require(fits, "C1", f"{input}, {rois}, {batch_indices}")
        cells = min(self.output_height, self.output_width) > 0 and self.sampling_ratio >= 0
        self.require(cells, "C2", f"{self.output_height} × {self.output_width}, {self.sampling_ratio}")
        return [(rois[0], input[1], self.output_height, self.output_width)]

    def compute(self, input: np.ndarray, rois: np.ndarray, batch_indices: np.ndarray) -> Arrays:
        """Return the pooled regions."""
        pooled = [self._pool(input[b], roi) for roi, b in zip(rois, batch_indices, strict=True)]
        shape = self.shapes(input.shape, rois.shape, batch_indices.shape)[0]
        return [np.stack(pooled).astype(input.dtype) if pooled else np.zeros(shape, input.dtype)]

    def _pool(self, x: np.ndarray, roi: np.ndarray) -> np.ndarray:
        """Return one region of x[C, H, W]."""
        offset = 0.5 if self.coordinate_transformation_mode == "half_pixel" else 0.0
        left, top, right, bottom = (float(v) * self.spatial_scale - offset for v in roi)
        rows, by_row = self._axis(top, bottom, self.output_height, x.shape[1])
        columns, by_column = self._axis(left, right, self.output_width, x.shape[2])
        if not rows.size or not columns.size:
            return np.zeros((len(x), self.output_height, self.output_width))
        if self.mode == "avg":
            return _matrix(rows, by_row, x.shape[1]) @ x @ _matrix(columns, by_column, x.shape[2]).T
        corners = x[:, rows[..., None, None], columns] * by_row[..., None, None] * by_column
        return corners.max(axis=(2, 4))

    def _axis(self, start: float, end: float, cells: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions[cells, 2·samples] and weights of the two elements around every sample of a dimension."""
        length = end - start if self.coordinate_transformation_mode == "half_pixel" else max(end - start, 1.0)
        step = length / cells
        samples = self.sampling_ratio or max(0, math.ceil(step))
        at = start + step * (np.arange(cells)[:, None] + (np.arange(samples) + 0.5) / max(1, samples))
        inside = (at >= -1) & (at <= size)
        at = np.clip(at, 0, size - 1)
        low = np.floor(at).astype(np.int64)
        upper = at - low
        positions = np.concatenate([low, np.minimum(low + 1, size - 1)], 1)
        return positions, np.concatenate([1 - upper, upper], 1) * np.concatenate([inside, inside], 1)


def _matrix(positions: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Return the matrix that averages the samples of every cell."""
    matrix = np.zeros((len(positions), size))
    np.add.at(matrix, (np.arange(len(positions))[:, None], positions), weights / (positions.shape[1] / 2))
    return matrix
