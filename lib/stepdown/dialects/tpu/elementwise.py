"""Integer code of elementwise, pooling, reducing and moving ops."""

from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.fields import Ints
from stepdown.dialects.op import Arrays
from stepdown.dialects.tpu.base import TpuOp, centred
from stepdown.numerics.rescale import ELTWISE_LEFT_SHIFT, apply_scale, rescale


class ScaledOp(TpuOp):
    """An op whose integer code rescales by constants, kept as attributes."""

    multipliers = Ints(())
    shifts = Ints(())


class SumOp(ScaledOp):
    """Add, Sub: every side is lifted by 20 bits and brought to one scale, summed in int32, rescaled to the output.

    `multipliers`/`shifts` hold one pair an operand, then the output's. Source: TOSA 1.0 §RESCALE, TFLite Add.
    """

    signs: ClassVar[tuple[int, int]] = (1, 1)

    def run_integer(self, *inputs: Any) -> Arrays:
        """Return saturate(rescale(Σ ± rescale((x − zp) << 20)))."""
        total: Any = 0
        for i, q in enumerate(inputs):
            lifted = centred(q, self.params(i), np.int64) << ELTWISE_LEFT_SHIFT
            total = total + self.signs[i > 0] * apply_scale(lifted, self.multipliers[i], self.shifts[i])
        params = self.result_params
        return [
            rescale(total, self.multipliers[-1], self.shifts[-1], params.zero_point, self.bounds(), self.result_dtype)
        ]


class DifferenceOp(SumOp):
    """Sub."""

    signs = (1, -1)


class ProductOp(ScaledOp):
    """Mul: int32 product, one rescale."""

    def run_integer(self, a: np.ndarray, b: np.ndarray) -> Arrays:
        """Return saturate(rescale((a − zp_a)·(b − zp_b)))."""
        product = centred(a, self.params(0), np.int32) * centred(b, self.params(1), np.int32)
        zero_point = self.result_params.zero_point
        return [rescale(product, self.multipliers[0], self.shifts[0], zero_point, self.bounds(), self.result_dtype)]


class PickOp(ScaledOp):
    """Max, Min: every side is rescaled to the output, then one is picked."""

    def run_integer(self, *inputs: Any) -> Arrays:
        """Fold the op over the rescaled operands."""
        params, dtype = self.result_params, self.result_dtype
        sides = [
            rescale(centred(q, self.params(i), np.int32), m, s, params.zero_point, self.bounds(), dtype)
            for i, (q, m, s) in enumerate(zip(inputs, self.multipliers, self.shifts, strict=True))
        ]
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
    """AveragePool: exact sums, zero point × count removed, one rescale for each distinct count, ascending."""

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return saturate(rescale(Σ (x − zp))), the rescale chosen by each window's count."""
        sums = self.sums(centred(q, self.params(0), np.float64))  # type: ignore[attr-defined]
        counts = np.asarray(self.counts(q.shape))  # type: ignore[attr-defined]
        which = np.searchsorted(np.unique(counts), counts)
        along = (1, 1, *which.shape)
        multiplier, shift = (np.asarray(v)[which].reshape(along) for v in (self.multipliers, self.shifts))
        y = apply_scale(sums, multiplier, shift) + self.result_params.zero_point
        return [np.clip(y, *self.bounds()).astype(self.result_dtype)]


class SumReduceOp(ScaledOp):
    """ReduceMean, ReduceSum: the exact sum, one rescale."""

    def run_integer(self, q: np.ndarray) -> Arrays:
        """Return saturate(rescale(Σ (x − zp)))."""
        sums = self.sums(centred(q, self.params(0), np.float64))  # type: ignore[attr-defined]
        zero_point = self.result_params.zero_point
        return [rescale(sums, self.multipliers[0], self.shifts[0], zero_point, self.bounds(), self.result_dtype)]


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
