"""Sums of products as loops stand in the program: one function an op, nothing copied, one vector of sums at a time.

This is the code of levels 0 and 1. At level 0 a vector is one channel, and images may lie in the program's order; at
level 1 it is as many neighbouring channels as a register has lanes, and images lie channels last.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from stepdown.native.effort import NCHW
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import Cut, cuts
from stepdown.native.kernels.windows import OverRows, OverWindows
from stepdown.native.tensors import Order, logical
from stepdown.native.tir import Expr, Function, cast

Place = tuple[Expr, Expr, Expr]
"""Image, row, column."""


class Loops(Mac):
    """The loops of the definition; a subclass says of what image, and of which numbers."""

    copies_rows: ClassVar[bool] = False
    levels = range(2)
    scratch = None

    def prepare(self) -> None:
        """Note over what the sums go."""
        self.over = self.image()
        self._each = self.over.is_depthwise
        """Whether every channel is convolved by itself: then neighbouring sums have operands of their own."""
        self._width = self.machine.lanes if self.machine.effort.makes_vectors else 1

    def choice(self) -> None:
        """Return that a rule alone says how the work is cut."""

    @property
    def in_planes(self) -> bool:
        """Whether images lie in the program's order, each channel as a plane."""
        return False

    def constants(self) -> dict[str, np.ndarray]:
        """Return the weights by tap and operand, [KH·KW, C / group, O], the first sums, and the scales of channels."""
        return self.unpacked(self.filter().transpose(2, 3, 1, 0))

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, rows, columns, groups and channels."""
        over = self.over
        depth = over.out_channels if self._each else over.out_channels // over.group
        with f.loop(over.batch) as n, f.shared(over.out_height) as row, f.loop(over.out_width) as column:
            for part in cuts(depth, self._width):
                with f.loop(over.out_channels // depth) as group, f.loop(part.count) as j:
                    channel = f.let(group * depth + j * part.width + part.first)
                    sums = self._sums(f, inputs[0], constants, (n, row, column), channel, part)
                    self._store(f, results[0], sums, constants, (n, row, column), channel, part)

    def _place(self, at: Place, channel: Expr, height: int, width: int, channels: int) -> Expr:
        """Return the index of an element of an image."""
        if self.in_planes:
            return ((at[0] * channels + channel) * height + at[1]) * width + at[2]
        return ((at[0] * height + at[1]) * width + at[2]) * channels + channel

    def _source(self, at: Place, channel: Expr) -> Expr:
        return self._place(at, channel, self.over.height, self.over.width, self.over.channels)

    def _sums(self, f: Function, x: Any, constants: Buffers, at: Place, channel: Expr, part: Cut) -> Any:
        """Return the sums of some channels at a place of the result."""
        over, sums = self.over, f.local(self.dot.sums, part.width)
        with f.loop(part.width, "vector") as lane:
            f.store(sums, lane, constants["bias"][channel + lane])
        with f.loop(over.kernel[0]) as kh:
            row = f.let(at[1] * over.strides[0] + kh * over.dilations[0] - over.pads[0])

            def columns() -> None:
                with f.loop(over.kernel[1]) as kw:
                    column = f.let(at[2] * over.strides[1] + kw * over.dilations[1] - over.pads[1])
                    place, tap = (at[0], row, column), kh * over.kernel[1] + kw
                    add = partial(self._add, f, x, constants, sums, place, tap, channel, part)
                    over.within(f, column, 1, add)

            over.within(f, row, 0, columns)
        return sums

    def _add(
        self, f: Function, x: Any, constants: Buffers, sums: Any, at: Place, tap: Expr, channel: Expr, part: Cut
    ) -> None:
        """Add the products of one pixel with the weights of one tap."""
        over, weights = self.over, constants["weights"]
        if self._each:
            with f.loop(part.width, "vector") as lane:
                operand = self._operand(x[self._source(at, channel + lane)])
                weight = cast(self.dot.sums, weights[tap * over.channels + channel + lane])
                f.store(sums, lane, sums[lane] + operand * weight)
            return
        depth = over.channels // over.group
        first = channel // (over.out_channels // over.group) * depth if over.group > 1 else 0
        with f.loop(depth) as i:
            operand = f.let(self._operand(x[self._source(at, first + i)]))
            with f.loop(part.width, "vector") as lane:
                weight = cast(self.dot.sums, weights[(tap * depth + i) * over.out_channels + channel + lane])
                f.store(sums, lane, sums[lane] + operand * weight)

    def _operand(self, stored: Expr) -> Expr:
        """Return an operand less its zero point."""
        zero_point = self.tensors[0].zero_point
        value = cast(self.dot.sums, self.opened(stored))
        return value - zero_point if zero_point else value

    def _store(self, f: Function, y: Any, sums: Any, constants: Buffers, at: Place, channel: Expr, part: Cut) -> None:
        """Scale the sums and store them."""
        over = self.over
        with f.loop(part.width, "vector") as lane:
            target = self._place(at, channel + lane, over.out_height, over.out_width, over.out_channels)
            f.store(y, target, self.finish(sums[lane], channel + lane, constants))


class WindowLoops(OverWindows, Loops):
    """Loops over windows of an image; of transposed convolutions there are none."""

    @property
    def in_planes(self) -> bool:
        """Whether the program's order was asked for, without vectors."""
        return self.machine.effort.layout == NCHW and not self.machine.effort.makes_vectors

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return how the image must lie and how the result will."""
        if not self.in_planes:
            return super().wanted(orders)
        rank = len(self.op.results[0].type.get_shape())
        return [logical(rank)], [logical(rank)]


@kernel("Conv")
class ConvolutionLoops(WindowLoops, IntegerMac):
    """Convolution of integers."""


@kernel("Conv")
class FloatConvolutionLoops(WindowLoops, FloatMac):
    """Convolution of f32."""


@kernel("MatMul")
class ProductLoops(OverRows, Loops, IntegerMac):
    """A product of integers with a constant matrix."""


@kernel("MatMul")
class FloatProductLoops(OverRows, Loops, FloatMac):
    """A product of f32 with a constant matrix."""
