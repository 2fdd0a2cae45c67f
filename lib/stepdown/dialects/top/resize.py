"""Resampling along each dimension by itself; coordinates are float32, as in onnxruntime."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stepdown.dialects.fields import Bool, Float, Floats, Ints, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape

_F = np.float32
# One matrix for a whole dimension beats a sum of gathered rows up to about this size for each tap of the kernel.
_DENSE_SIZE_PER_TAP = 128


def _align_corners(x: np.ndarray, scale: np.float32, old: int, new: int, roi: tuple[float, float]) -> np.ndarray:
    return x * _F(old - 1) / _F(new - 1) if new > 1 else x * _F(0)


def _half_pixel_symmetric(x: np.ndarray, scale: np.float32, old: int, new: int, roi: tuple[float, float]) -> np.ndarray:
    """Return half-pixel coordinates around the centre of the operand where scale × old is not whole."""
    offset = _F(old) / _F(2) * (_F(1) - _F(new) / (scale * _F(old)))
    return offset + (x + _F(0.5)) / scale - _F(0.5)


def _crop_and_resize(x: np.ndarray, scale: np.float32, old: int, new: int, roi: tuple[float, float]) -> np.ndarray:
    start, end = _F(roi[0]), _F(roi[1])
    if new == 1:
        return x * _F(0) + _F(0.5) * (start + end) * _F(old - 1)
    return start * _F(old - 1) + x * (end - start) * _F(old - 1) / _F(new - 1)


# coordinate_transformation_mode → where in the operand result position x lies.
COORDINATES: dict[str, Callable[[np.ndarray, np.float32, int, int, tuple[float, float]], np.ndarray]] = {
    "half_pixel": lambda x, scale, old, new, roi: (x + _F(0.5)) / scale - _F(0.5),
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": lambda x, scale, old, new, roi: (x + _F(0.5)) / scale - _F(0.5) if new > 1 else x * _F(0),
    "align_corners": _align_corners,
    "asymmetric": lambda x, scale, old, new, roi: x / scale,
    "tf_half_pixel_for_nn": lambda x, scale, old, new, roi: (x + _F(0.5)) / scale,
    "tf_crop_and_resize": _crop_and_resize,
}

# nearest_mode → the element that stands for a coordinate.
NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - _F(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + _F(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


class Resampled(TopOp):
    """An op that resamples its operand to `shape`.

    `scales` has one value a dimension; it is not always new size / old size, because sizes are whole.
    `roi`, used by tf_crop_and_resize alone, holds all starts, then all ends, as parts of the dimensions.

    C1: shape and scales have one value a dimension
    C2: no size becomes 0, every scale is above 0 and no dimension that is resized is empty
    C3: tf_crop_and_resize has a roi of two values a dimension
    """

    shape = Ints()
    scales = Floats()
    coordinate_transformation_mode = Str("half_pixel", tuple(COORDINATES))
    roi = Floats(())
    extrapolation_value = Float(0.0)
    fills = ("extrapolation_value",)

    def shapes(self, input: Shape) -> list[Shape]:
        """Return `shape`."""
        self.require(len(self.shape) == len(self.scales) == len(input), "C1", f"{self.shape} of {input}")
        sizes = all(n > 0 or (n == old and s == 1) for n, old, s in zip(self.shape, input, self.scales, strict=True))
        resized = all(old > 0 or n == old for n, old in zip(self.shape, input, strict=True))
        self.require(sizes and resized and min(self.scales, default=1) > 0, "C2", f"{self.shape} of {input}")
        self.require(not self._crops or len(self.roi) == 2 * len(input), "C3", f"{self.roi}")
        return [self.shape]

    @property
    def _crops(self) -> bool:
        return self.coordinate_transformation_mode == "tf_crop_and_resize"

    def resized_axes(self, input: Shape) -> list[int]:
        """Return the dimensions that change, those that grow least first: it makes the least work."""
        axes = [
            i for i, (n, old, s) in enumerate(zip(self.shape, input, self.scales, strict=True)) if n != old or s != 1
        ]
        if self._crops:
            rank = len(input)
            axes = [i for i in range(rank) if i in axes or (self.roi[i], self.roi[rank + i]) != (0, 1)]
        return sorted(axes, key=lambda i: (self.shape[i] / max(1, input[i]), -i))

    def coordinates(self, axis: int, size: int) -> np.ndarray:
        """Return where in dimension `axis`, `size` elements long, each result position lies, as float32."""
        new, scale = self.shape[axis], _F(self.scales[axis])
        roi = (self.roi[axis], self.roi[axis + len(self.shape)]) if self._crops else (0.0, 1.0)
        place = COORDINATES[self.coordinate_transformation_mode]
        return np.asarray(place(np.arange(new, dtype=_F), scale, size, new, roi))

    def extrapolate(self, y: np.ndarray, input: Shape) -> np.ndarray:
        """Set what lies outside the operand to extrapolation_value, in place; only tf_crop_and_resize does it."""
        for axis in self.resized_axes(input) if self._crops else []:
            at = self.coordinates(axis, input[axis])
            outside = (at < 0) | (at > input[axis] - 1)
            y[(slice(None),) * axis + (outside,)] = y.dtype.type(self.extrapolation_value)
        return y


@top_op
class ResizeNearest(Resampled):
    """Every result is the operand's element nearest to its coordinate. Source: ONNX Resize-19, Upsample-9."""

    kind = Kind.MOVE
    nearest_mode = Str("round_prefer_floor", tuple(NEAREST))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(1, 2, 3, 4))], {"shape": [1, 2, 6, 10], "scales": [1, 1, 2, 2.5]}

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the nearest elements."""
        y = input
        for axis in self.resized_axes(input.shape):
            y = np.take(y, self.positions(axis, input.shape[axis]), axis)
        return [self.extrapolate(y, input.shape) if self._crops else y]

    def positions(self, axis: int, size: int) -> np.ndarray:
        """Return the position of the element that each result along `axis` takes."""
        nearest = NEAREST[self.nearest_mode](self.coordinates(axis, size))
        return np.clip(nearest.astype(np.int64), 0, size - 1)


@top_op
class Resize(Resampled):
    """Every result is a weighted sum of the elements around its coordinate. Source: ONNX Resize-19, Upsample-9.

    The weights are those of the triangle (linear) or of Keys' cubic with parameter `cubic_coeff_a`. Beyond the border
    the outermost element goes on, or, with `exclude_outside`, has no weight. `antialias` widens the kernel where the
    operand shrinks.
    """

    kind = Kind.FLOAT
    mode = Str("linear", ("linear", "cubic"))
    cubic_coeff_a = Float(-0.75)
    exclude_outside = Bool(False)
    antialias = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(1, 2, 3, 4))], {"shape": [1, 2, 6, 6], "scales": [1, 1, 2, 1.5], "mode": "cubic"}

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the weighted sums; integers are summed in float64 and cut off."""
        y = input if input.dtype.kind == "f" else input.astype(np.float64)
        for axis in self.resized_axes(input.shape):
            y = _resample(y, axis, *self.taps(axis, input.shape[axis]))
        return [self.extrapolate(y, input.shape).astype(input.dtype, copy=False)]

    def taps(self, axis: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions[n, t] and weights[n, t] of the elements whose sum is result n along `axis`."""
        shrink = min(self.scales[axis], 1.0) if self.antialias else 1.0
        reach = math.ceil((1 if self.mode == "linear" else 2) / shrink)
        at = self.coordinates(axis, size).astype(np.float64)[:, None]
        positions = np.floor(at) + np.arange(1 - reach, reach + 1)
        weights = self.kernel(np.abs(positions - at) * shrink)
        if self.exclude_outside:
            weights[(positions < 0) | (positions >= size)] = 0
        if self.exclude_outside or shrink < 1:
            weights /= weights.sum(axis=1, keepdims=True)
        return np.clip(positions.astype(np.int64), 0, size - 1), weights

    def kernel(self, distance: np.ndarray) -> np.ndarray:
        """Return the weight of an element at a distance ≥ 0."""
        return np.maximum(0.0, 1.0 - distance) if self.mode == "linear" else cubic(distance, self.cubic_coeff_a)


def cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Return the weight of an element at a distance ≥ 0. Source: R. Keys, Cubic convolution interpolation, 1981."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _resample(x: np.ndarray, axis: int, positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sums over t of weights[n, t] · x[…, positions[n, t], …] along `axis`."""
    size, (new, taps) = x.shape[axis], positions.shape
    weights = weights.astype(x.dtype)
    if size <= _DENSE_SIZE_PER_TAP * taps and np.isfinite(x).all():  # a matrix would spread NaN along the dimension
        matrix = np.zeros((new, size), x.dtype)
        np.add.at(matrix, (np.arange(new)[:, None], positions), weights)
        return _product(matrix, x, axis)
    shape: Any = [-1 if i == axis else 1 for i in range(x.ndim)]
    total = np.take(x, positions[:, 0], axis)
    total *= weights[:, 0].reshape(shape)
    for tap in range(1, taps):
        part = np.take(x, positions[:, tap], axis)
        part *= weights[:, tap].reshape(shape)
        total += part
    return total


def _product(matrix: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """Return matrix[M, N] times x[…, N, …] along `axis`."""
    shape = (*x.shape[:axis], len(matrix), *x.shape[axis + 1 :])
    if axis == x.ndim - 1:
        return (x.reshape(-1, x.shape[axis]) @ matrix.T).reshape(shape)
    return (matrix @ x.reshape(-1, x.shape[axis], math.prod(x.shape[axis + 1 :]))).reshape(shape)
