"""Pools of reals that are more than a fold: the p-norm of each window, and where its largest element lies."""

from collections.abc import Sequence
from typing import Any

from stepdown.dialects.types import storage_of
from stepdown.native.halves import HALVES, REALS, single_of
from stepdown.native.kernels import functions as of
from stepdown.native.kernels import wide
from stepdown.native.kernels.base import CHANNELS_LAST, Buffers, kernel
from stepdown.native.kernels.functions import real
from stepdown.native.kernels.image import cuts
from stepdown.native.kernels.pool import Pool, geometry, window_taps
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.tir import Expr, Function, cast, const, select

_VECTORS = 4


@kernel("LpPool")
class NormPooling(Pool):
    """(Σ |x|^p)^(1/p) of each window."""

    types = REALS
    sum_type = "float32"

    def prepare(self) -> None:
        """Note how elements are stored."""
        kind = storage_of(self.op.operands[0])
        self._half = single_of(kind, self.machine) if kind in HALVES else None
        self._p: int = self.op.p  # type: ignore[attr-defined]

    def begin(self, f: Function) -> None:
        """Note how what is computed is named."""
        self._let = f.once

    def start(self) -> Expr:
        """Return 0."""
        return real(0.0)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum with one more |x|^p."""
        size = self._let(of.magnitude(self._half.real(value) if self._half else value))
        if self._p <= 2:
            return total + (size if self._p == 1 else size * size)
        return total + wide.power(self._let, size, real(self._p))

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return the root of the sum."""
        root = total
        if self._p == 2:
            root = of.sqrt(self._let, self._let(total))
        elif self._p > 2:
            root = wide.power(self._let, self._let(total), real(1 / self._p))
        return self._half.closed(self._let(root)) if self._half else root


@kernel("MaxPoolIndices")
class LargestPlace(RealKernel):
    """The place of the first largest element of each window in the whole operand, −1 where it sees none."""

    layout = CHANNELS_LAST

    def check(self) -> None:
        """Refuse other types, and three dimensions."""
        if storage_of(self.op.operands[0]) not in (*REALS, "i8", "u8"):
            raise self.is_not_of("reals or integers of 8 bits")
        if len(self.op.kernel_shape) > 2:  # type: ignore[attr-defined]
            raise self.refuse("has three spatial dimensions")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over positions and channels."""
        batch, channels = self.tensors[0].shape[:2]
        size, out, windows = geometry(self.op, self.tensors[0].shape, self.results[0].shape)
        x = self.view(self.tensors[0], inputs[0])
        with f.loop(batch) as n, f.shared(out[0]) as row, f.loop(out[1]) as column:
            target = ((n * out[0] + row) * out[1] + column) * channels
            for part in cuts(channels, _VECTORS * self.machine.lanes):
                with f.loop(part.count) as i:
                    channel = i * part.width + part.first
                    found = self._found(f, x, (n, row, column), windows, size, channel, part.width)
                    with f.loop(part.width, "vector") as lane:
                        plane = (n * channels + channel + lane) * (size[0] * size[1])
                        place = select(found[lane] < 0, const(-1), plane + found[lane])
                        f.store(results[0], target + channel + lane, cast("int64", place))

    def _found(
        self, f: Function, x: View, at: Sequence[Expr], windows: Sequence[Any], size: Sequence[int], channel: Expr,
        width: int,
    ) -> Any:  # fmt: skip
        """Return where in their planes the largest elements of neighbouring channels are."""
        channels = self.tensors[0].shape[1]
        dtype = self.computed(self.tensors[0])
        best, found = f.local(dtype, width), f.local("int32", width)
        with f.loop(width, "vector") as lane:
            f.store(best, lane, const(0, dtype))
            f.store(found, lane, const(-1))

        def update(h: Expr, w: Expr) -> None:
            source = ((at[0] * size[0] + h) * size[1] + w) * channels + channel
            place = w * size[0] + h if self.op.column_major else h * size[1] + w  # type: ignore[attr-defined]
            with f.loop(width, "vector") as lane:
                value = f.once(x[source + lane])
                larger = f.once(cast("int32", (found[lane] < 0) | (value > best[lane]))) > 0
                f.store(found, lane, select(larger, place, found[lane]))
                f.store(best, lane, select(larger, value, best[lane]))

        window_taps(f, (at[1], at[2]), windows, size, update)
        return found
