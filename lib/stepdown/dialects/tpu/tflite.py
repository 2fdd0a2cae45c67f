"""Integer code that only networks quantised by TensorFlow Lite have (profile `tflite`)."""

from typing import Any

import numpy as np

from stepdown.dialects.fields import Int
from stepdown.dialects.op import Arrays
from stepdown.dialects.tpu.base import TpuOp, centred
from stepdown.dialects.tpu.elementwise import MoveOp, ScaledOp
from stepdown.numerics.tflite.softmax import log_softmax, softmax
from stepdown.numerics.tflite.vectors import divide, float_interpolated, interpolated, l2_normalized, linear_weights

COMPARE_LEFT_SHIFT, SQUARE_LEFT_SHIFT = 8, 7


class SoftmaxOp(TpuOp):
    """Softmax: `multiplier` and the left shift `lift` bring a difference of stored inputs to 5 integer bits."""

    multiplier = Int(0)
    lift = Int(0)
    fixed_point = staticmethod(softmax)

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return the distribution in fixed point."""
        low = self.result_params.bounds[0]
        y = self.fixed_point(q, self.multiplier, self.lift, low, self.axis)  # type: ignore[attr-defined]
        return [y.astype(self.result_dtype)]


class LogSoftmaxOp(SoftmaxOp):
    """LogSoftmax."""

    fixed_point = staticmethod(log_softmax)


class NormOp(TpuOp):
    """LpNorm with p = 2."""

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return x / √Σx²; the result's scale is 1/128."""
        y = l2_normalized(centred(q, self.params(0), np.int64), self.axis, self.params(0).type == "u8")  # type: ignore[attr-defined]
        return [np.clip(y + self.result_params.zero_point, *self.bounds()).astype(self.result_dtype)]


class InterpolateOp(TpuOp):
    """Resize, linear, of [N, C, H, W]: stored integers interpolated; i8 with 10 bits of fraction, u8 in float32."""

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return the weighted sums, rounded once."""
        mode: str = self.coordinate_transformation_mode  # type: ignore[attr-defined]
        options = mode == "align_corners", mode == "half_pixel"
        sizes = self.shape[2:]  # type: ignore[attr-defined]
        if self.params(0).type == "u8":
            return [float_interpolated(q, sizes, *options).astype(np.uint8)]
        weights = {2 + i: linear_weights(q.shape[2 + i], size, *options) for i, size in enumerate(sizes)}
        return [interpolated(q, weights).astype(self.result_dtype)]


class PReluOp(ScaledOp):
    """PRelu: scales of the positive side, and of input × slope."""

    def run_integer(self, q: np.ndarray, slope: np.ndarray) -> Arrays:
        """Return x rescaled where it is positive, x · slope rescaled elsewhere."""
        x = centred(q, self.params(0), np.int32)
        product = x * centred(slope, self.params(1), np.int32)
        return [np.where(x >= 0, self.stored(x, 0), self.stored(product, 1))]


class QuotientOp(ScaledOp):
    """Div: the reciprocal of the divisor in fixed point."""

    def run_integer(self, a: np.ndarray, b: np.ndarray) -> Arrays:
        """Return saturate(a / b).

        Raises:
            ZeroDivisionError: a divisor is 0, at which the kernel stops too.
        """
        x, y = centred(a, self.params(0), np.int64), centred(b, self.params(1), np.int64)
        if not y.all():
            raise ZeroDivisionError("division of integers by 0")
        quotient = divide(x, y, self.multipliers[0], 31 - self.shifts[0]) + self.result_params.zero_point
        return [np.clip(quotient, *self.bounds()).astype(self.result_dtype)]


class SquaredDifferenceOp(ScaledOp):
    """SquaredDifference: both sides lifted by 7 bits and brought to one scale; the square is rescaled."""

    def run_integer(self, a: np.ndarray, b: np.ndarray) -> Arrays:
        """Return saturate(rescale((a − b)²))."""
        sides = (centred(q, self.params(i), np.int64) << SQUARE_LEFT_SHIFT for i, q in enumerate((a, b)))
        left, right = (self.scaled(side, i) for i, side in enumerate(sides))
        return [self.stored(np.square(left - right), 2)]


class CompareOp(ScaledOp):
    """Compare: quantised sides are lifted by 8 bits and brought to real units; the result is a truth value."""

    def run(self, *inputs: Any) -> Arrays:
        """Return the comparison."""
        return self.compute(*(self._side(q, i) for i, q in enumerate(inputs)) if self.multipliers else inputs)

    def _side(self, q: np.ndarray, index: int) -> np.ndarray:
        return self.scaled(centred(q, self.params(index), np.int64) << COMPARE_LEFT_SHIFT, index)


TFLITE_OPS: dict[str, type[TpuOp]] = {
    "Softmax": SoftmaxOp,
    "LogSoftmax": LogSoftmaxOp,
    "LpNorm": NormOp,
    "Resize": InterpolateOp,
    "PRelu": PReluOp,
    "Div": QuotientOp,
    "SquaredDifference": SquaredDifferenceOp,
    "Compare": CompareOp,
    "Where": MoveOp,
    "ScatterND": MoveOp,
    "TopK": MoveOp,
}
"""TOP ops that have integer code in this profile alone."""
