"""Pools over windows of images."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.types import shape_of, storage_of
from stepdown.native.kernels.base import CHANNELS_LAST, Buffers, Kernel, kernel
from stepdown.native.kernels.elementwise import output_of, reach
from stepdown.native.rescaling import Scale
from stepdown.native.tir import Expr, Function, cast, clamp, const, largest, select, tirx

_VECTORS = 4


class Pool(Kernel):
    """A fold of each window, channels in vectors: give `start`, `combine` and `result`."""

    layout = CHANNELS_LAST
    types: ClassVar[tuple[str, ...]] = ("i8", "u8")
    sum_type = "int32"

    def check(self) -> None:
        """Refuse other types, and three dimensions."""
        if storage_of(self.op.operands[0]) not in self.types:
            raise self.is_not_of(f"{' or '.join(self.types)}")
        if len(self.op.kernel_shape) > 2:  # type: ignore[attr-defined]
            raise self.refuse("has three spatial dimensions")
        self.prepare()

    def prepare(self) -> None:
        """Make the scales."""

    def start(self) -> Expr:
        """Return the fold of nothing."""
        raise NotImplementedError

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the fold with one more element."""
        raise NotImplementedError

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return what is stored of a fold at a position (row · width + column)."""
        raise NotImplementedError

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over positions and channels."""
        n, c = self.tensors[0].shape[:2]
        size, out, windows = geometry(self.op, self.tensors[0].shape, self.results[0].shape)
        with f.loop(n) as batch, f.shared(out[0]) as row, f.loop(out[1]) as column:
            position = row * out[1] + column

            def taps(update: Callable[[Expr], None]) -> None:
                def tap(h: Expr, w: Expr) -> None:
                    update(((batch * size[0] + h) * size[1] + w) * c)

                window_taps(f, (row, column), windows, size, tap)

            target = (batch * (out[0] * out[1]) + position) * c
            self._channels(f, c, taps, inputs[0], results[0], target, position, constants)

    def _channels(
        self, f: Function, channels: int, taps: Callable[[Callable[[Expr], None]], None], x: Any, y: Any, target: Expr,
        position: Expr, constants: Buffers,
    ) -> None:  # fmt: skip
        lanes = _VECTORS * self.machine.lanes
        whole, rest = divmod(channels, lanes)
        for first, count, width in ((0, whole, lanes), (whole * lanes, min(rest, 1), rest)):
            if not count:
                continue
            with f.loop(count) as i:
                channel = i * width + first
                total = f.local(self.sum_type, width)
                with f.loop(width, "vector") as lane:
                    f.store(total, lane, self.start())

                def update(at: Expr, channel: Expr = channel, total: Any = total, width: int = width) -> None:
                    with f.loop(width, "vector") as lane:
                        f.store(total, lane, self.combine(total[lane], x[at + channel + lane]))

                taps(update)
                with f.loop(width, "vector") as lane:
                    f.store(y, target + channel + lane, self.result(total[lane], position, constants))


def geometry(op: Any, shape: Sequence[int], result: Sequence[int]) -> tuple[list[int], list[int], list[Any]]:
    """Return height and width of a pool's images, those of its results, and of both dimensions of its window the size,
    stride, dilation and padding; one dimension is a row.
    """
    rank = len(op.kernel_shape)

    def pair(values: Sequence[int], fill: int) -> list[int]:
        return [fill] * (2 - rank) + list(values)

    fields = pair(op.kernel_shape, 1), pair(op.strides, 1), pair(op.dilations, 1), pair(op.pads[:rank], 0)
    return pair(shape[2:], 1), pair(result[2:], 1), list(zip(*fields, strict=True))


def window_taps(
    f: Function, at: tuple[Expr, Expr], window: Sequence[Any], size: Sequence[int],
    body: Callable[[Expr, Expr], None],
) -> None:  # fmt: skip
    """Write the loops over the elements of a window that meet the image."""
    with f.loop(window[0][0]) as i, f.loop(window[1][0]) as j:
        row, column = (
            place * stride + k * dilation - pad
            for place, k, (_, stride, dilation, pad) in zip(at, (i, j), window, strict=True)
        )
        with f.when((row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])):
            body(row, column)


@kernel("MaxPool")
class MaxPooling(Pool):
    """The largest stored integer of each window."""

    @property
    def sum_type(self) -> str:  # type: ignore[override]
        """The type of the operand."""
        return self.tensors[0].dtype

    def start(self) -> Expr:
        """Return the least stored integer."""
        return const(self.op.params(0).bounds[0], self.sum_type)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the larger."""
        return largest(total, value)

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return it as it is."""
        return total


@kernel("AveragePool")
class AveragePooling(Pool):
    """The exact sum of each window, less zero points, rescaled by its count; or, unscaled, divided by it."""

    def prepare(self) -> None:
        """Make the scale of each count."""
        op: Any = self.op
        self._counts = np.asarray(op.counts(tuple(op.operands[0].type.get_shape())))
        self._zero_point = op.params(0).zero_point if op.is_scaled else 0
        self._output = output_of(self.op)
        self._scale = None
        if op.is_scaled:
            if op.rounding == "float":
                raise self.refuse("is rounded as float")
            bound = reach(op.params(0)) * int(self._counts.max())
            self._scale = Scale(op.multipliers, op.shifts, op.rounding, bound)

    def constants(self) -> dict[str, np.ndarray]:
        """Return the scales of the counts and which one each position has, or the counts."""
        distinct = np.unique(self._counts)
        if distinct.size == 1:
            return {}
        if self._scale is None:
            return {"count": self._counts.astype(np.int32).ravel()}
        which = np.searchsorted(distinct, self._counts).astype(np.int32).ravel()
        return {"which": which, **self._scale.constants(distinct.size)}

    def start(self) -> Expr:
        """Return 0."""
        return const(0)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum."""
        return total + (cast("int32", value) - self._zero_point)

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return the mean."""
        if self._scale is not None:
            index = constants["which"][position] if "which" in constants else 0
            return self._output.stored(self._scale.apply(total, self._scale.values(constants, index)), self._scale.wide)
        count = constants["count"][position] if "count" in constants else const(int(self._counts.flat[0]))
        half = _quotient(count, const(2))
        positive = _quotient(total + half, count)
        negative = const(0) - _quotient(half - total, count)
        mean = select(total >= const(0), positive, negative)
        return cast(self._output.dtype, clamp(mean, *self._output.bounds))


@kernel("MaxPool")
class FloatMaxPooling(MaxPooling):
    """The largest f32 of each window."""

    types = ("f32",)

    def start(self) -> Expr:
        """Return −∞."""
        return const(-math.inf, "float32")


@kernel("AveragePool")
class FloatAveragePooling(Pool):
    """The mean of each window."""

    types = ("f32",)
    sum_type = "float32"

    def prepare(self) -> None:
        """Count the elements of each window."""
        self._counts = np.asarray(self.op.counts(shape_of(self.op.operands[0])))  # type: ignore[attr-defined]

    def constants(self) -> dict[str, np.ndarray]:
        """Return the counts."""
        return {"count": self._counts.astype(np.float32).ravel()}

    def start(self) -> Expr:
        """Return 0."""
        return const(0.0, "float32")

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum."""
        return total + value

    def result(self, total: Expr, position: Expr, constants: Buffers) -> Expr:
        """Return the mean."""
        return total / constants["count"][position]


def _quotient(a: Expr, b: Expr) -> Expr:
    """Return a / b cut off towards 0."""
    return tirx().truncdiv(a, b)
