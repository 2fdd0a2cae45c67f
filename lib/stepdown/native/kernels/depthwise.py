"""Convolutions of each channel by itself: vectors are neighbouring channels, sums of some positions stay in registers.

Of some channels the rows that a few results need are copied, widened and with their padding. Where the processor sums
pairs of products, an element of the copy is a pixel and the one below it, so that one step does two rows of the window.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from stepdown.native.dots import PAIR_SUMS, pair_sums
from stepdown.native.effort import FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac, OverWindows
from stepdown.native.kernels.image import along, cuts
from stepdown.native.tir import Expr, Function, bits, cast, clamp, const, select, span, tirx

_POSITIONS = 8


class DepthwiseCode(OverWindows, Mac):
    """Convolution with as many groups as channels, in and out; a subclass says of which numbers."""

    def prepare(self) -> None:
        """Decide how the work is cut; refuse other convolutions."""
        if not self.is_depthwise:
            raise self.refuse("is not depthwise")
        self.over, self._lanes = self.image(), self.dot.lanes
        self._is_float = self.dot.sums != "int32"
        self._pairs = not self._is_float and self.machine.dot in PAIR_SUMS
        self._dtype = "float32" if self._is_float else ("int32" if self._pairs else "int16")
        self._step = 2 if self._pairs else 1
        """Rows of the window that one step does."""
        moves, dilation = self.over.moves[0], self.over.dilations[0]
        self._pitch = 2 if self._pairs and dilation == 1 and moves % 2 == 0 else 1
        """Rows of the image from one line of the copy to the next: of pairs, every second line may do."""
        self._moves = moves // self._pitch
        self._lines = (-(-self.over.kernel[0] // self._step) - 1) * self._step * dilation // self._pitch + 1
        """Lines that a row of results needs."""

    @cached_property
    def _channels(self) -> int:
        """Channels that are copied at a time: as many vectors as leave the lines in the nearest memory."""
        whole = -(-self.over.channels // self._lanes) * self._lanes
        line = self._ring * self.over.band(self.over.out_width, 1) * (2 if self._dtype == "int16" else 4)
        fitting = self.machine.scratch_bytes // 2 // line // self._lanes * self._lanes
        return min(whole, max(self._lanes, fitting))

    @cached_property
    def _ring(self) -> int:
        """Lines of the copy, a power of two: line l takes the place of line l − ring."""
        return 1 << (max(self._lines, self._moves) - 1).bit_length()

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of lines."""
        return self._dtype, self._ring * self.over.band(self.over.out_width, 1) * self._channels

    def _packed_weights(self, dtype: type) -> np.ndarray:
        """Return the weights [KH / step, KW, C, step], channels filled up to whole vectors."""
        w, step = self.filter()[:, 0].transpose(1, 2, 0), self._step  # [KH, KW, C]
        filled = np.pad(w, ((0, -len(w) % step), (0, 0), (0, self._fill)))
        return filled.reshape(-1, step, *filled.shape[1:]).transpose(0, 2, 3, 1).astype(dtype).ravel()

    def _packed_bias(self, dtype: type) -> np.ndarray:
        start = np.zeros(self.over.channels) if self.bias is None else self.bias
        return np.pad(start.astype(dtype), (0, self._fill))

    @property
    def _fill(self) -> int:
        """Channels that fill the last vector up."""
        return -self.over.channels % self._lanes

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, channels and rows: each row of results copies the lines that are new to it."""
        image, x, scratch = self.over, inputs[0], constants["scratch"]
        with f.loop(image.batch) as batch:
            for part in cuts(image.channels, self._channels):
                with f.loop(part.count) as j:
                    first = j * part.width + part.first
                    early = max(0, self._lines - self._moves)
                    top, bottom = f.share(image.out_height)
                    if early:
                        with f.loop(early) as line:
                            self._copy(f, x, scratch, (batch, top * self._moves + line, first), part.width)
                    with f.between(top, bottom) as row:
                        with f.loop(self._lines - early) as k:
                            line = row * self._moves + early + k
                            self._copy(f, x, scratch, (batch, line, first), part.width)
                        self._sums(f, constants, results[0], (batch, row, first), part.width)

    # --- the copy

    def _place(self, line: Expr, width: int) -> Expr:
        """Return where a line of the copy begins."""
        return tirx().bitwise_and(line, self._ring - 1) * (self.over.band(self.over.out_width, 1) * width)

    def _copy(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr, Expr], channels: int) -> None:
        """Copy a line: `channels` from (image, line, channel) `at` on, with padding left and right."""
        image, width = self.over, self._width(channels)
        columns, step = image.band(image.out_width, 1), image.steps[1]
        left = -(-image.pads[1] // step)
        begin = left * step - image.pads[1]
        kept = max(0, min(columns - left, -(-(image.width - begin) // step)))
        target = f.let(self._place(at[1], width))
        for first, count in ((0, left), (left + kept, columns - left - kept)):
            self._zeros(f, copy, target + first * width, count * width)
        top = at[1] * (image.steps[0] * self._pitch) - image.pads[0]
        rows = [f.let(top + k * image.dilations[0]) for k in range(self._step)]

        def pixels(masks: Sequence[Expr | None]) -> None:
            starts = [(at[0] * image.height + clamp(row, 0, image.height - 1)) * image.width for row in rows]
            lines = [f.let((start + begin) * image.channels + at[2]) for start in starts]
            with f.loop(kept) as c:
                pixel, place = c * (step * image.channels), target + (left + c) * width

                def one(i: Expr) -> None:
                    values = [self._value(x[n + pixel + i], mask) for n, mask in zip(lines, masks, strict=True)]
                    f.store(copy, place + i, self._packed(values))

                along(f, channels, 2 * self._lanes, one)

        inside = (rows[0] >= 0) & (rows[-1] < image.height)
        masks = [select((row >= 0) & (row < image.height), const(1), const(0)) for row in rows]
        f.either(inside, lambda: pixels([None] * len(rows)), lambda: pixels([f.let(mask) for mask in masks]))

    def _value(self, value: Expr, inside: Expr | None) -> Expr:
        """Return an operand less its zero point, widened; 0 outside of the image."""
        wide = self.dot.sums
        zero_point = 0 if self._is_float else self.tensors[0].zero_point
        opened = cast(wide, self.opened(value))
        made = opened - zero_point if zero_point else opened
        return made if inside is None else select(inside != 0, made, const(0, wide))

    def _packed(self, values: Sequence[Expr]) -> Expr:
        if not self._pairs:
            return cast(self._dtype, values[0])
        return (values[0] & const(0xFFFF)) | (values[1] << const(16))

    def _zeros(self, f: Function, copy: Any, start: Expr, count: int) -> None:
        if count:
            along(f, count, 2 * self._lanes, lambda i: f.store(copy, start + i, const(0, self._dtype)))

    def _width(self, channels: int) -> int:
        """Return the elements of a pixel of the copy: whole vectors."""
        return -(-channels // self._lanes) * self._lanes

    # --- the sums

    def _sums(self, f: Function, constants: Buffers, y: Any, at: tuple[Expr, Expr, Expr], channels: int) -> None:
        """Write a row of results, from (image, row, channel) `at` on."""
        image, width, lanes = self.over, self._width(channels), self._lanes
        window = -(-image.kernel[0] // self._step)
        lines = [at[1] * self._moves + k * (self._step * image.dilations[0] // self._pitch) for k in range(window)]
        starts = [f.let(self._place(line, width)) for line in lines]
        for vectors in cuts(channels, lanes):
            with f.loop(vectors.count) as v:
                vector = v * vectors.width + vectors.first
                weights = self._weights(f, constants["weights"], at[2] + vector)
                for places in cuts(image.out_width, _POSITIONS):
                    with f.loop(places.count) as p:
                        column = p * places.width + places.first
                        sums = f.local(self.dot.sums, places.width * lanes)
                        self._start(f, sums, constants["bias"], at[2] + vector, places.width)
                        origin = column * (image.moves[1] * width) + vector
                        self._taps(
                            f, sums, constants["scratch"], weights, [s + origin for s in starts], width, places.width
                        )
                        line = (at[0] * image.out_height + at[1]) * image.out_width + column
                        target = line * image.channels + at[2] + vector
                        self._finish(f, sums, constants, y, target, at[2] + vector, places.width, vectors.width)

    def _weights(self, f: Function, weights: Any, channel: Expr) -> list[Expr]:
        """Load the weights of a vector of channels, step after step of the window."""
        image, lanes, step = self.over, self._lanes, self._step
        across = image.channels + (-image.channels % lanes)
        count = -(-image.kernel[0] // step) * image.kernel[1]
        places = [(k * across + channel) * step for k in range(count)]
        if self._pairs:
            return [f.let(weights[span(place, lanes * step)]) for place in places]
        return [(weights, place) for place in places]

    def _start(self, f: Function, sums: Any, bias: Any, channel: Expr, positions: int) -> None:
        for p in range(positions):
            with f.loop(self._lanes, "vector") as lane:
                f.store(sums, lane + p * self._lanes, bias[channel + lane])

    def _taps(
        self, f: Function, sums: Any, copy: Any, weights: list[Any], lines: list[Expr], width: int, positions: int
    ) -> None:
        """Write all steps of the window, for all positions; `lines` are where its lines begin."""
        image, lanes = self.over, self._lanes
        for number, weight in enumerate(weights):
            line, kw = divmod(number, image.kernel[1])
            start = lines[line] + kw * (image.dilations[1] * width)
            for p in range(positions):
                place = start + p * (image.moves[1] * width)
                if self._pairs:
                    at = span(p * lanes, lanes)
                    operands = bits(f"int16x{2 * lanes}", copy[span(place, lanes)])
                    f.store(sums, at, sums[at] + pair_sums(lanes, operands, weight))
                    continue
                buffer, index = weight
                with f.loop(lanes, "vector") as lane:
                    product = cast(self.dot.sums, copy[place + lane]) * cast(self.dot.sums, buffer[index + lane])
                    f.store(sums, lane + p * lanes, sums[lane + p * lanes] + product)

    def _finish(
        self, f: Function, sums: Any, constants: Buffers, y: Any, target: Expr, channel: Expr, positions: int,
        used: int,
    ) -> None:  # fmt: skip
        """Scale and store: through memory, so that one loop over the positions does for all."""
        lanes = self._lanes
        made = f.local(self.dot.sums, positions * lanes)
        with f.loop(positions, "unroll") as i, f.loop(lanes, "vector") as lane:
            f.store(made, i * lanes + lane, sums[i * lanes + lane])
        with f.loop(positions) as p, f.loop(used, "vector") as lane:
            stored = self.finish(made[p * lanes + lane], channel + lane, constants)
            f.store(y, target + p * self.over.channels + lane, stored)


@kernel("Conv")
class Depthwise(DepthwiseCode, IntegerMac):
    """Of integers."""

    levels = FROM_BLOCKS

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights, bias and scales, channels filled up to whole vectors."""
        scales = self.scale.constants(self.over.channels + self._fill)
        return {"weights": self._packed_weights(np.int16), "bias": self._packed_bias(np.int32), **scales}


@kernel("Conv")
class FloatDepthwise(DepthwiseCode, FloatMac):
    """Of f32."""

    levels = FROM_BLOCKS

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias, channels filled up to whole vectors."""
        return {"weights": self._packed_weights(np.float32), "bias": self._packed_bias(np.float32)}
