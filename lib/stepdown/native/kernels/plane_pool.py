"""Pools of images whose channels are planes: vectors are neighbouring columns, folded in a row of their own."""

from collections.abc import Sequence
from typing import Any, ClassVar

from stepdown.native.effort import NCHW
from stepdown.native.kernels.base import LOGICAL, Buffers, kernel
from stepdown.native.kernels.image import along
from stepdown.native.kernels.pool import AveragePooling, FloatAveragePooling, FloatMaxPooling, MaxPooling, Pool
from stepdown.native.tir import Expr, Function


class PlanePool(Pool):
    """A fold of windows of planes; mixed in front of a pool that says which."""

    order = NCHW
    layout: ClassVar[str] = LOGICAL

    @property
    def scratch(self) -> tuple[str, int]:
        """A row of folds."""
        return self.sum_type, self.results[0].shape[-1]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over planes, rows and the elements of the window; each one is folded into a whole row."""
        op, source, result = self.op, self.tensors[0], self.results[0]
        rows = len(op.kernel_shape) == 2  # type: ignore[attr-defined]
        size, out = ((t.shape[-2] if rows else 1, t.shape[-1]) for t in (source, result))
        folds, lanes = constants["scratch"], 4 * self.machine.lanes
        with f.shared(source.shape[0] * source.shape[1]) as plane, f.loop(out[0]) as row:
            along(f, out[1], lanes, lambda j: f.store(folds, j, self.start()))
            with f.loop(op.kernel_shape[0] if rows else 1) as kh:  # type: ignore[attr-defined]
                self._line(f, inputs[0], folds, (plane, row, kh), size, out[1])
            target = (plane * out[0] + row) * out[1]

            def store(j: Expr) -> None:
                f.store(results[0], target + j, self.result(folds[j], row * out[1] + j, constants))

            along(f, out[1], lanes, store)

    def _line(
        self, f: Function, x: Any, folds: Any, at: tuple[Expr, Expr, Expr], size: tuple[int, int], out: int
    ) -> None:
        """Fold one row of the window, (plane, row, row of the window) `at`, where it meets the image."""
        op: Any = self.op
        rank = len(op.kernel_shape)
        stride, dilation, pad = (op.strides[0], op.dilations[0], op.pads[0]) if rank == 2 else (1, 1, 0)
        line = f.let(at[1] * stride + at[2] * dilation - pad)
        with f.when((line >= 0) & (line < size[0])):
            start = f.let((at[0] * size[0] + line) * size[1])
            for kw in range(op.kernel_shape[-1]):
                self._column(f, x, folds, start, kw * op.dilations[-1] - op.pads[rank - 1], (size[1], out))

    def _column(self, f: Function, x: Any, folds: Any, start: Expr, offset: int, width: tuple[int, int]) -> None:
        """Fold the elements that lie `offset` columns from where windows begin; `width`: of image and result."""
        stride = self.op.strides[-1]  # type: ignore[attr-defined]
        first = max(0, -(offset // stride))
        end = min(width[1], (width[0] - 1 - offset) // stride + 1)

        def one(j: Expr) -> None:
            f.store(folds, first + j, self.combine(folds[first + j], x[start + offset + (first + j) * stride]))

        along(f, max(0, end - first), 4 * self.machine.lanes, one)


@kernel("MaxPool")
class PlaneMaxPooling(PlanePool, MaxPooling):
    """The largest stored integer of each window."""


@kernel("AveragePool")
class PlaneAveragePooling(PlanePool, AveragePooling):
    """The mean of each window of integers."""


@kernel("MaxPool")
class FloatPlaneMaxPooling(PlanePool, FloatMaxPooling):
    """The largest f32 of each window."""


@kernel("AveragePool")
class FloatPlaneAveragePooling(PlanePool, FloatAveragePooling):
    """The mean of each window of f32."""
