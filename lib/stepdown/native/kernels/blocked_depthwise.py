"""Convolutions of each channel by itself where channels lie in blocks: a block is a vector, rows of it are copied.

Where the processor sums pairs of products, an element of the copy is a pixel and the one below it, so that one step
does two rows of the window.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stepdown.native.dots import PAIR_SUMS, pair_sums
from stepdown.native.effort import BLOCKED, FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import along, cuts
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tensors import Order, blocked
from stepdown.native.tir import Expr, Function, bits, cast, const, select, span

_POSITIONS = 8


class BlockedDepthwise(OverWindows, Mac):
    """A convolution with as many groups as channels, in and out; a subclass says of which numbers."""

    order = BLOCKED
    levels = FROM_BLOCKS

    def prepare(self) -> None:
        """Decide how the work is cut; refuse other convolutions."""
        if not self.is_depthwise:
            raise self.refuse("is not depthwise")
        self.over, self.lanes = self.image(), self.dot.lanes
        self.blocks = -(-self.over.channels // self.lanes)
        self._pairs = self.dot.sums == "int32" and self.machine.dot in PAIR_SUMS
        self._step = 2 if self._pairs else 1
        """Rows of the window that one step does."""
        self._dtype = self.dot.sums if self._pairs or self.dot.sums == "float32" else "int16"
        self._columns = self.over.band(self.over.out_width, 1)

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return that image and result lie in blocks."""
        rank = len(self.op.results[0].type.get_shape())
        return [blocked(rank, self.lanes)], [blocked(rank, self.lanes)]

    @property
    def _rows(self) -> int:
        """Rows of results that are made of one copy."""
        fitting = self.machine.scratch_bytes // (4 * self._columns * self.lanes)
        taken = self.over.band(1, 0)
        return max(1, min(self.over.out_height, (fitting - taken) // self.over.moves[0] + 1))

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of rows."""
        return self._dtype, self.over.band(self._rows, 0) * self._columns * self.lanes

    def packed(self, dtype: type) -> np.ndarray:
        """Return the weights by block, [C / x, KH / step, KW, x, step]."""
        w = self.filter()[:, 0]
        w = np.pad(w, ((0, self.blocks * self.lanes - len(w)), (0, -w.shape[1] % self._step), (0, 0)))
        cut = w.reshape(self.blocks, self.lanes, -1, self._step, w.shape[2])
        return cut.transpose(0, 2, 4, 1, 3).astype(dtype).ravel()

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Return one value a channel, filled up to whole blocks."""
        return np.pad(values, (0, self.blocks * self.lanes - len(values)), "edge")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, blocks, which threads share, and copies of rows."""
        over = self.over
        with f.loop(over.batch) as n, f.shared(self.blocks) as block:
            image = f.let(n * self.blocks + block)
            for down in cuts(over.out_height, self._rows):
                with f.loop(down.count) as i:
                    row = down.first + i * down.width
                    self._copy(f, inputs[0], constants["scratch"], (image, row), down.width)
                    for places in cuts(over.out_width, _POSITIONS):
                        with f.loop(down.width) as r, f.loop(places.count) as p:
                            column = places.first + p * places.width
                            sums = self._sums(f, constants, (block, r, column), places.width)
                            at = ((image * over.out_height + row + r) * over.out_width + column) * self.lanes
                            self._store(f, results[0], sums, constants, (block, at), places.width)

    # --- the copy

    def _copy(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr], rows: int) -> None:
        """Copy the rows of an image that results from `at` (image, row) on need, with padding."""
        over, lanes, step = self.over, self.lanes, self.over.steps[1]
        left = -(-over.pads[1] // step)
        begin = left * step - over.pads[1]
        kept = max(0, min(self._columns - left, -(-(over.width - begin) // step)))
        with f.loop(over.band(rows, 0)) as line:
            target = f.let(line * (self._columns * lanes))
            top = f.let(at[1] * over.strides[0] + line * over.steps[0] - over.pads[0])
            for first, count in ((0, left), (left + kept, self._columns - left - kept)):
                zero = partial(self._zero, f, copy, target + first * lanes)
                along(f, count * lanes, 2 * lanes, zero)
            starts, masks = [], []
            for k in range(self._step):
                row = f.let(top + k * over.dilations[0])
                inside = (row >= 0) & (row < over.height)
                line_of_pixels = at[0] * over.height + select(inside, row, const(0))
                starts.append(f.let((line_of_pixels * over.width + begin) * lanes))
                masks.append(f.let(select(inside, const(1), const(0))))
            with f.loop(kept) as c, f.loop(lanes, "vector") as lane:
                place = c * (step * lanes) + lane
                values = [self._value(x[s + place], mask) for s, mask in zip(starts, masks, strict=True)]
                f.store(copy, target + (left + c) * lanes + lane, self._joined(values))

    def _zero(self, f: Function, copy: Any, start: Expr, i: Expr) -> None:
        f.store(copy, start + i, const(0, self._dtype))

    def _value(self, value: Expr, inside: Expr) -> Expr:
        """Return an operand less its zero point, widened; 0 outside of the image."""
        wide = self.dot.sums
        zero_point = 0 if wide == "float32" else self.tensors[0].zero_point
        opened = cast(wide, self.opened(value))
        return select(inside != 0, opened - zero_point if zero_point else opened, const(0, wide))

    def _joined(self, values: Sequence[Expr]) -> Expr:
        if not self._pairs:
            return cast(self._dtype, values[0])
        return (values[0] & const(0xFFFF)) | (values[1] << const(16))

    # --- the sums

    def _sums(self, f: Function, constants: Buffers, at: tuple[Expr, Expr, Expr], positions: int) -> Any:
        """Return the sums of some positions from (block, row of the copy, column) `at` on."""
        over, lanes = self.over, self.lanes
        sums = f.local(self.dot.sums, positions * lanes)
        for p in range(positions):
            with f.loop(lanes, "vector") as lane:
                f.store(sums, p * lanes + lane, constants["bias"][at[0] * lanes + lane])
        steps = -(-over.kernel[0] // self._step)
        size = lanes * self._step
        for k in range(steps):
            row = at[1] * over.moves[0] + k * (self._step * over.dilations[0])
            line = f.let((row * self._columns + at[2] * over.moves[1]) * lanes)
            for kw in range(over.kernel[1]):
                weights = ((at[0] * steps + k) * over.kernel[1] + kw) * size
                self._tap(f, sums, constants, line + kw * over.dilations[1] * lanes, weights, positions)
        return sums

    def _tap(self, f: Function, sums: Any, constants: Buffers, place: Expr, weights: Expr, positions: int) -> None:
        """Add one step of the window."""
        lanes, copy, packed = self.lanes, constants["scratch"], constants["weights"]
        pair = f.let(packed[span(weights, 2 * lanes)]) if self._pairs else None
        for p in range(positions):
            start = place + p * self.over.moves[1] * lanes
            if pair is not None:
                at = span(p * lanes, lanes)
                operands = bits(f"int16x{2 * lanes}", copy[span(start, lanes)])
                f.store(sums, at, sums[at] + pair_sums(lanes, operands, pair))
                continue
            with f.loop(lanes, "vector") as lane:
                product = cast(self.dot.sums, copy[start + lane]) * cast(self.dot.sums, packed[weights + lane])
                f.store(sums, p * lanes + lane, sums[p * lanes + lane] + product)

    def _store(self, f: Function, y: Any, sums: Any, constants: Buffers, at: tuple[Expr, Expr], positions: int) -> None:
        """Scale the sums and store them at (block, index) `at`, by way of memory."""
        lanes = self.lanes
        made = f.local(self.dot.sums, positions * lanes)
        with f.loop(positions, "unroll") as i, f.loop(lanes, "vector") as lane:
            f.store(made, i * lanes + lane, sums[i * lanes + lane])
        with f.loop(positions) as p, f.loop(lanes, "vector") as lane:
            result = self.finish(made[p * lanes + lane], at[0] * lanes + lane, constants)
            place = at[1] + p * lanes + lane
            f.store(y, place, self.stored(result, place, constants))


@kernel("Conv")
class IntegerBlockedDepthwise(BlockedDepthwise, IntegerMac):
    """Of integers."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights, bias and scales, channels filled up to whole blocks."""
        scales, bias = self.scale.constants(self.blocks * self.lanes), self.first_sums().astype(np.int32)
        return {"weights": self.packed(np.int16), "bias": self.by_channel(bias), **scales}


@kernel("Conv")
class FloatBlockedDepthwise(BlockedDepthwise, FloatMac):
    """Of f32."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias, channels filled up to whole blocks."""
        bias = self.first_sums().astype(np.float32)
        return {"weights": self.packed(np.float32), "bias": self.by_channel(bias)}
