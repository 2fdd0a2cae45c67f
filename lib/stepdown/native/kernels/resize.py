"""Resampling by weighted sums of neighbours: where they are and what they weigh is known when the code is made."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from stepdown.dialects.types import shape_of, storage_of
from stepdown.native.halves import REALS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import real
from stepdown.native.kernels.image import cuts
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.spread import shared_one
from stepdown.native.tensors import Order, channels_last, logical
from stepdown.native.tir import Expr, Function, const, select

_VECTORS = 4


@kernel("Resize")
class Resampling(RealKernel):
    """Sums over neighbours in all resized dimensions at once; lanes are the innermost one where that stays."""

    def check(self) -> None:
        """Refuse integers; find neighbours and weights."""
        if any(storage_of(v) not in REALS for v in (*self.op.operands, *self.op.results)):
            raise self.is_not_of("reals")
        op: Any = self.op
        self._shape = shape_of(op.operands[0])
        self._axes = sorted(op.resized_axes(self._shape))
        self._taps = {axis: op.taps(axis, self._shape[axis]) for axis in self._axes}

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Ask for channels last where they stay as they are."""
        rank = len(self._shape)
        order = channels_last(rank) if rank > 2 and 1 not in self._axes else logical(rank)
        return [order], [order]

    def constants(self) -> dict[str, np.ndarray]:
        """Return for each resized dimension the places of neighbours, their weights, and what lies outside."""
        held: dict[str, np.ndarray] = {}
        for axis, (places, weights) in self._taps.items():
            held |= {f"p{axis}": places.astype(np.int32), f"w{axis}": weights.astype(np.float32)}
            if self._crops:
                at = self.op.coordinates(axis, self._shape[axis])  # type: ignore[attr-defined]
                held[f"o{axis}"] = ((at < 0) | (at > self._shape[axis] - 1)).astype(np.int32)
        return held

    @property
    def _crops(self) -> bool:
        return self.op.coordinate_transformation_mode == "tf_crop_and_resize"  # type: ignore[attr-defined]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over the result, the innermost dimension in vectors where it is not resized."""
        (result,) = self.results
        x, y = self.views(inputs, results)
        outer = list(result.order)
        inner = outer.pop() if outer and outer[-1] not in self._axes else None
        sizes = [result.shape[at] for at in outer]
        with ExitStack() as loops:
            at: dict[int, Expr] = {}
            for number, (axis, size) in enumerate(zip(outer, sizes, strict=True)):
                shared = number == shared_one(sizes)
                at[axis] = loops.enter_context(f.shared(size) if shared else f.loop(size))
            for part in cuts(1 if inner is None else result.shape[inner], _VECTORS * self.machine.lanes):
                with f.loop(part.count) as i:
                    self._some(f, x, y, at, i * part.width + part.first, part.width, constants)

    def _some(
        self, f: Function, x: View, y: View, at: dict[int, Expr], first: Expr, width: int, constants: Buffers
    ) -> None:
        """Write `width` neighbouring results."""
        total = f.local("float32", width)
        with f.loop(width, "vector") as lane:
            f.store(total, lane, real(0.0))
        with ExitStack() as loops:
            source: Expr = first + sum(i * x.strides[axis] for axis, i in at.items() if axis not in self._axes)
            weight: Expr = real(1.0)
            for axis, (places, _) in self._taps.items():
                tap = at[axis] * places.shape[1] + loops.enter_context(f.loop(places.shape[1]))
                source = f.let(source + constants[f"p{axis}"][tap] * x.strides[axis])
                weight = f.once(weight * constants[f"w{axis}"][tap])
            with f.loop(width, "vector") as lane:
                f.store(total, lane, total[lane] + weight * x[source + lane])
        target = first + sum(i * y.strides[axis] for axis, i in at.items())
        with f.loop(width, "vector") as lane:
            f.store(y.buffer, target + lane, y.closed(f.once(self._extrapolated(total[lane], at, constants))))

    def _extrapolated(self, value: Expr, at: dict[int, Expr], constants: Buffers) -> Expr:
        """Return a value, or what stands for those outside the operand."""
        if not self._crops or not self._axes:
            return value
        outside: Expr = sum(constants[f"o{axis}"][at[axis]] for axis in self._axes)
        return select(outside > const(0), real(self.op.extrapolation_value), value)  # type: ignore[attr-defined]
