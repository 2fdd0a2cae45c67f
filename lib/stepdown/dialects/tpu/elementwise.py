"""Integer code of elementwise, pooling, reducing and moving ops."""

from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.fields import Floats, Ints, Str
from stepdown.dialects.op import Arrays
from stepdown.dialects.tpu.base import TpuOp, centred
from stepdown.numerics.float_scale import rescale_by_float, scale_rounded
from stepdown.numerics.rescale import APPLY_SCALE, ELTWISE_LEFT_SHIFT, apply_scale, rescale
from stepdown.numerics.tflite.pool import mean_away


class ScaledOp(TpuOp):
    """An op whose integer code rescales by constants, kept as attributes.

    `rounding` is double in networks that TensorFlow Lite quantised (see `numerics.rescale`). Where it is float, the
    constants are `scales`, float32 values (`numerics.float_scale`).
    """

    multipliers = Ints(())
    shifts = Ints(())
    scales = Floats(())
    rounding = Str("single", choices=("single", "double", "float"))

    @property
    def is_scaled(self) -> bool:
        """Whether the op rescales at all."""
        return bool(self.multipliers or self.scales)

    def scaled(self, acc: np.ndarray, index: int) -> np.ndarray:
        """Return `acc` times the scale at `index`, rounded."""
        if self.rounding == "float":
            return scale_rounded(acc, self.scales[index]).astype(np.int64)
        return APPLY_SCALE[self.rounding](acc, self.multipliers[index], self.shifts[index])

    def stored(self, acc: np.ndarray, index: int = -1) -> np.ndarray:
        """Return `acc` times the scale at `index` as the result is stored."""
        zero_point, bounds, dtype = self.result_params.zero_point, self.bounds(), self.result_dtype
        if self.rounding == "float":
            return rescale_by_float(acc, self.scales[index], zero_point, bounds, dtype)
        return rescale(acc, self.multipliers[index], self.shifts[index], zero_point, bounds, dtype, self.rounding)


class SumOp(ScaledOp):
    """Add, Sub: every side is lifted by 20 bits and brought to one scale, summed in int32, rescaled to the output.

    `multipliers`/`shifts` hold one pair an operand, then the output's. Source: TOSA 1.0 §RESCALE, TFLite Add.
    Rounded as float, a side is not lifted: it is loaded times its scale. Source: Gemmini, tiled_resadd (MVIN_SCALE).
    """

    signs: ClassVar[tuple[int, int]] = (1, 1)

    def run_integer(self, *inputs: Any) -> Arrays:
        """Return saturate(rescale(Σ ± rescale((x − zp) << lift)))."""
        total: Any = 0
        lift = 0 if self.rounding == "float" else ELTWISE_LEFT_SHIFT
        for i, q in enumerate(inputs):
            lifted = centred(q, self.params(i), np.int64) << lift
            total = total + self.signs[i > 0] * self.scaled(lifted, i)
        return [self.stored(total)]


class DifferenceOp(SumOp):
    """Sub."""

    signs = (1, -1)


class ProductOp(ScaledOp):
    """Mul: int32 product, one rescale."""

    def run_integer(self, a: np.ndarray, b: np.ndarray) -> Arrays:
        """Return saturate(rescale((a − zp_a)·(b − zp_b)))."""
        product = centred(a, self.params(0), np.int32) * centred(b, self.params(1), np.int32)
        return [self.stored(product)]


class PickOp(ScaledOp):
    """Max, Min: every side is rescaled to the output, then one is picked; without multipliers all have one scale."""

    def run_integer(self, *inputs: Any) -> Arrays:
        """Fold the op over the rescaled operands."""
        sides = inputs
        if self.is_scaled:
            sides = tuple(self.stored(centred(q, self.params(i), np.int32), i) for i, q in enumerate(inputs))
        y = sides[0]
        for side in sides[1:]:
            y = self.function(y, side)  # type: ignore[attr-defined]
        return [y]


class MoveOp(TpuOp):
    """An op that moves stored values: operands and results share their scale and zero point."""

    def run_integer(self, *inputs: Any) -> Arrays:
        """Move the integers."""
        return self.compute(*inputs)


class AverageOp(ScaledOp):
    """AveragePool: exact sums, zero point × count removed, one rescale for each distinct count, ascending.

    Without multipliers operand and result have one scale: the sum of the stored integers is divided by the count,
    half away from zero. Source: TFLite AveragePool.
    """

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return saturate(rescale(Σ (x − zp))), the rescale chosen by each window's count."""
        if not self.is_scaled:
            sums, counts = self.sums(q.astype(np.float64)), self.counts(q.shape)  # type: ignore[attr-defined]
            return [np.clip(mean_away(sums, counts), *self.bounds()).astype(self.result_dtype)]
        sums = self.sums(centred(q, self.params(0), np.float64))  # type: ignore[attr-defined]
        counts = np.asarray(self.counts(q.shape))  # type: ignore[attr-defined]
        which = np.searchsorted(np.unique(counts), counts)
        along = (1, 1, *which.shape)
        if self.rounding == "float":
            factors = np.asarray(self.scales, np.float32)[which].reshape(along)
            return [rescale_by_float(sums, factors, self.result_params.zero_point, self.bounds(), self.result_dtype)]
        multiplier, shift = (np.asarray(v)[which].reshape(along) for v in (self.multipliers, self.shifts))
        y = apply_scale(sums, multiplier, shift) + self.result_params.zero_point
        return [np.clip(y, *self.bounds()).astype(self.result_dtype)]


class SumReduceOp(ScaledOp):
    """ReduceMean, ReduceSum: the exact sum, one rescale."""

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return saturate(rescale(Σ (x − zp)))."""
        sums = self.sums(centred(q, self.params(0), np.float64))  # type: ignore[attr-defined]
        return [self.stored(sums)]


INTEGER_OPS: dict[str, type[TpuOp]] = {
    "Add": SumOp,
    "Sub": DifferenceOp,
    "Mul": ProductOp,
    "Max": PickOp,
    "Min": PickOp,
    "MaxPool": MoveOp,
    "AveragePool": AverageOp,
    "ReduceMean": SumReduceOp,
    "ReduceSum": SumReduceOp,
    "ReduceMax": MoveOp,
    "ReduceMin": MoveOp,
}
"""TOP ops with integer code of their own; moves have it by their kind."""
