"""Sums of products that copy nothing: for processors whose memory is scarce, where tensors alone fill the arena.

A few neighbouring channels are summed at a time, so that an operand is loaded once for all of them. What a window meets
outside of the image is left out of the sum.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from stepdown.native.effort import FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import cuts
from stepdown.native.kernels.windows import OverRows, OverWindows
from stepdown.native.tir import Expr, Function, cast

_CHANNELS = 4
"""Sums at a time: with as many weights and an operand they fit in the registers of any processor."""


class Direct(Mac):
    """Sums over the tensor itself; a subclass says of what image, and of which numbers."""

    copies_rows: ClassVar[bool] = False
    levels = FROM_BLOCKS
    scratch = None

    def prepare(self) -> None:
        """Note over what the sums go."""
        self.over = self.image().flattened()
        self._each = self.over.is_depthwise
        """Whether every channel is convolved by itself: then neighbouring sums have operands of their own."""

    def choice(self) -> None:
        """Return that a rule alone says how the work is cut."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return the weights as a sum goes, the sums to begin with, and the scales of the channels."""
        return self.unpacked(self.filter().transpose((2, 3, 1, 0) if self._each else (0, 2, 3, 1)))

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, rows, columns, groups and channels."""
        over = self.over
        with f.loop(over.batch) as n, f.shared(over.out_height) as row, f.loop(over.out_width) as column:
            pixel = f.let((n * over.out_height + row) * over.out_width + column)
            with f.loop(1 if self._each else over.group) as group:
                depth = over.out_channels if self._each else over.out_channels // over.group
                for part in cuts(depth, _CHANNELS):
                    with f.loop(part.count) as j:
                        channel = f.let(group * depth + j * part.width + part.first)
                        sums = self._sums(f, inputs[0], constants, (n, row, column), channel, part.width)
                        self._store(f, results[0], sums, constants, pixel * over.out_channels, channel, part.width)

    def _sums(
        self, f: Function, x: Any, constants: Buffers, at: tuple[Expr, Expr, Expr], channel: Expr, width: int
    ) -> Any:
        """Return the sums of `width` channels at a place (image, row, column) of the result."""
        over, sums = self.over, f.local(self.dot.sums, width)
        for c in range(width):
            f.store(sums, c, constants["bias"][channel + c])
        with f.loop(over.kernel[0]) as kh:
            row = f.let(at[1] * over.strides[0] + kh * over.dilations[0] - over.pads[0])

            def columns() -> None:
                with f.loop(over.kernel[1]) as kw:
                    column = f.let(at[2] * over.strides[1] + kw * over.dilations[1] - over.pads[1])

                    def products() -> None:
                        source = f.let(((at[0] * over.height + row) * over.width + column) * over.channels)
                        self._add(f, x, constants["weights"], sums, source, kh * over.kernel[1] + kw, channel, width)

                    over.within(f, column, 1, products)

            over.within(f, row, 0, columns)
        return sums

    def _add(
        self, f: Function, x: Any, weights: Any, sums: Any, source: Expr, tap: Expr, channel: Expr, width: int
    ) -> None:
        """Add the products of one pixel, whose channels begin at `source`, with the weights of one tap."""
        over, wide = self.over, self.dot.sums
        if self._each:
            for c in range(width):
                weight = cast(wide, weights[tap * over.channels + channel + c])
                f.store(sums, c, sums[c] + self._operand(x, source + channel + c) * weight)
            return
        depth, taps = over.channels // over.group, over.kernel[0] * over.kernel[1]
        first = source + channel // (over.out_channels // over.group) * depth if over.group > 1 else source
        with f.loop(depth) as i:
            operand = f.let(self._operand(x, first + i))
            for c in range(width):
                weight = cast(wide, weights[((channel + c) * taps + tap) * depth + i])
                f.store(sums, c, sums[c] + operand * weight)

    def _operand(self, x: Any, index: Expr) -> Expr:
        """Return an operand less its zero point."""
        zero_point = self.tensors[0].zero_point
        value = cast(self.dot.sums, self.opened(x[index]))
        return value - zero_point if zero_point else value

    def _store(
        self, f: Function, y: Any, sums: Any, constants: Buffers, target: Expr, channel: Expr, width: int
    ) -> None:
        """Scale and store: through memory, so that one loop over the channels does for all."""
        made = f.local(self.dot.sums, width)
        for c in range(width):
            f.store(made, c, sums[c])
        with f.loop(width) as c:
            place = target + channel + c
            f.store(y, place, self.stored(self.finish(made[c], channel + c, constants), place, constants))


@kernel("Conv")
class DirectConvolution(Direct, OverWindows, IntegerMac):
    """Convolution of integers."""


@kernel("Conv")
class FloatDirectConvolution(Direct, OverWindows, FloatMac):
    """Convolution of f32."""


@kernel("MatMul")
class DirectProduct(Direct, OverRows, IntegerMac):
    """A product of integers with a constant matrix."""


@kernel("MatMul")
class FloatDirectProduct(Direct, OverRows, FloatMac):
    """A product of f32 with a constant matrix."""
