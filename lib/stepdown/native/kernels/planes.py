"""Convolutions of images whose channels are planes, as programs have them: vectors are neighbouring columns.

Some rows are copied with their padding, in the type that the processor multiplies. Where windows are several columns
apart, columns of the copy are sorted by their rest, so that neighbouring results read neighbouring elements; where the
processor sums groups of products, an element of the copy is a group of channels. A block of columns × channels of sums
stays in registers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from stepdown.native.dots import QuadsU8, pair_sums
from stepdown.native.effort import NCHW
from stepdown.native.kernels.base import LOGICAL, Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import Cut, Phases, along, counted, cuts, rounds
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tir import Expr, Function, bits, cast, const, repeat, span

_GROUPS = {"pairs": 2, "quads_u8": 4}
"""Products that one instruction sums, by its kind; others sum one at a time."""
_MOST_CHANNELS, _MOST_VECTORS = 6, 3


class Planes(OverWindows, Mac):
    """Sums over planes; a subclass says of which numbers."""

    order = NCHW
    layout = LOGICAL
    levels = range(1, 5)

    def prepare(self) -> None:
        """Decide how the work is cut."""
        self.over = self.image().in_rows()
        self.depth = self.over.channels // self.over.group
        self.out_depth = self.over.out_channels // self.over.group
        self._is_float = self.dot.sums != "int32"
        self._products = 1 if self._is_float or self.depth == 1 else _GROUPS.get(self.machine.dot, 1)
        self._bytewise = self._products == _GROUPS["quads_u8"]
        self._element = "float32" if self._is_float else ("int16" if self._products == 1 else "int32")
        self._groups = -(-self.depth // self._products)

    def choice(self) -> None:
        """Return that a rule alone says how the work is cut."""

    # --- how it is cut

    @cached_property
    def _block(self) -> tuple[int, int]:
        """Channels and vectors of columns of sums in registers."""
        if not self.machine.effort.blocks_registers:
            return 1, 1
        vectors = min(_MOST_VECTORS, -(-self.over.out_width // self.machine.lanes))
        channels = (self.machine.registers - 1 - vectors) // vectors
        return min(self.out_depth, channels, _MOST_CHANNELS), vectors

    @cached_property
    def _lines(self) -> Phases:
        image, (stride, dilation) = self.over, (self.over.strides[1], self.over.dilations[1])
        read = [k * dilation for k in range(image.kernel[1])]
        whole = -(-self._columns // self.machine.lanes) * self.machine.lanes
        return Phases(tuple(sorted({c % stride for c in read})), whole + read[-1] // stride)

    @cached_property
    def _columns(self) -> int:
        """Columns of results that are made of one copy: all, but of a plane that is one row."""
        image = self.over
        if image.out_height > 1 or image.kernel != (1, 1):
            return image.out_width
        step = self._block[1] * self.machine.lanes
        fitting = self.machine.scratch_bytes // (4 * self._groups) // step * step
        return min(image.out_width, max(step, fitting))

    @cached_property
    def _rows(self) -> int:
        """Rows of results that are made of one copy."""
        rows = range(1, self.over.out_height + 1)
        return max(1, sum(4 * self._copied(r) <= self.machine.scratch_bytes for r in rows))

    def _copied(self, rows: int) -> int:
        """Return the elements of the copy that rows of results need."""
        return self._groups * self.over.band(rows, 0) * len(self._lines.phases) * self._lines.length

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of rows."""
        return self._element, self._copied(self._rows)

    # --- constants

    def packed(self, w: np.ndarray) -> np.ndarray:
        """Return w[O, C / group, KH, KW] by group and block: [C / products, KH, KW, O of the block, products]."""
        products, parts = self._products, []
        filled = np.pad(w, ((0, 0), (0, -self.depth % products), (0, 0), (0, 0)))
        for of_group in np.split(filled, self.over.group):
            for part in cuts(self.out_depth, self._block[0]):
                for first in range(part.first, part.end, part.width):
                    block = of_group[first : first + part.width].reshape(part.width, -1, products, *w.shape[2:])
                    parts.append(block.transpose(1, 3, 4, 0, 2).ravel())
        return np.concatenate(parts)

    # --- code

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, groups, copies of rows, and blocks of channels and columns."""
        image, copy = self.over, constants["scratch"]
        by_groups = image.group > 1
        with f.loop(image.batch) as n, f.shared(image.group) if by_groups else f.loop(1) as group:
            for down in cuts(image.out_height, self._rows):
                for across in cuts(image.out_width, self._columns):
                    with f.loop(down.count) as i, f.loop(across.count) as j:
                        row, column = down.first + i * down.width, across.first + j * across.width
                        self._copy(
                            f, inputs[0], copy, (n * image.group + group, row, column), (down.width, across.width)
                        )
                        parts = cuts(self.out_depth, self._block[0])
                        for before, part in counted(parts):
                            with rounds(f, part.count, before, parts, not by_groups) as b:
                                block = _Block(self, f, constants, part, group, part.first + b * part.width)
                                block.write(results[0], (n, row, column), (down.width, across.width))

    def _copy(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr, Expr], size: tuple[int, int]) -> None:
        """Copy what `size` rows and columns of results from (image and group, row, column) `at` on need."""
        image, products = self.over, self._products
        band, line = image.band(size[0], 0), len(self._lines.phases) * self._lines.length
        for part in cuts(self.depth, products):
            with f.loop(part.count) as k, f.loop(band) as r:
                row = f.let(at[1] * image.strides[0] + r * image.steps[0] - image.pads[0])
                channel = at[0] * self.depth + k * products + part.first
                source = (channel * image.height + row) * image.width + at[2]
                target = ((part.first // products + k) * band + r) * line
                one = partial(self._row, f, x, copy, source, target, part.width, size[1])
                if image.leaves(0):
                    f.either((row >= 0) & (row < image.height), one, partial(self._fill, f, copy, target, line))
                else:
                    one()

    def _row(self, f: Function, x: Any, copy: Any, source: Expr, target: Expr, channels: int, columns: int) -> None:
        """Copy one row of some channels, line by line, with its padding; of a part of a row only its `columns`."""
        image, (stride, pad) = self.over, (self.over.strides[1], self.over.pads[1])
        plane = image.height * image.width
        source = f.let(source)
        for number, phase in enumerate(self._lines.phases):
            line, length = f.let(target + number * self._lines.length), self._lines.length
            left = min(length, max(0, -(-(pad - phase) // stride)))
            kept = max(0, min(length, (image.width - 1 + pad - phase) // stride + 1) - left)
            if self._columns < image.out_width:
                kept = columns
            self._fill(f, copy, line, left)
            first = left * stride + phase - pad

            def one(j: Expr, line: Expr = line, left: int = left, first: int = first) -> None:
                values = [x[source + first + j * stride + c * plane] for c in range(channels)]
                f.store(copy, line + left + j, self._joined(values))

            along(f, kept, self.machine.lanes, one)
            self._fill(f, copy, line + left + kept, length - left - kept)

    def _fill(self, f: Function, copy: Any, target: Expr, count: int) -> None:
        value = const(self._padding, self._element)
        along(f, count, self.machine.lanes, lambda i: f.store(copy, target + i, value))

    @property
    def _padding(self) -> int:
        """What stands for 0 in the copy."""
        if not self._bytewise:
            return 0
        zero_point = self.tensors[0].zero_point + self.dot.offset(self.tensors[0].type)
        return int(np.array([zero_point] * 4, np.uint8).view(np.int32)[0])

    def _joined(self, values: Sequence[Expr]) -> Expr:
        """Return an element of the copy: an operand, or several in one integer."""
        if self._is_float:
            return values[0]
        offset = self.dot.offset(self.tensors[0].type) if self._bytewise else -self.tensors[0].zero_point
        moved = [cast("int32", v) + offset if offset else cast("int32", v) for v in values]
        if self._products == 1:
            return cast(self._element, moved[0])
        width = 32 // self._products
        made: Expr = const(0)
        for place, value in enumerate(moved):
            made = made | ((value & const((1 << width) - 1)) << const(width * place))
        return made


@dataclass(frozen=True)
class _Block:
    """Some channels of a group, at all columns of a copy; `first` is the first channel of the group."""

    code: Planes
    f: Function
    constants: Buffers
    part: Cut
    group: Expr
    first: Expr

    @property
    def _channel(self) -> Expr:
        return self.group * self.code.out_depth + self.first

    def write(self, y: Any, at: tuple[Expr, Expr, Expr], size: tuple[int, int]) -> None:
        """Write the sums of `size` rows and columns of results, from (image, row, column) `at` on."""
        f, lanes, vectors = self.f, self.code.machine.lanes, self.code._block[1]
        rows, columns = size
        for places in cuts(columns, vectors * lanes):
            with f.loop(rows) as r, f.loop(places.count) as i:
                column, count = places.first + i * places.width, -(-places.width // lanes)
                sums = f.local(self.code.dot.sums, self.part.width * count * lanes)
                for v in range(self.part.width * count):
                    with f.loop(lanes, "vector") as lane:
                        f.store(sums, v * lanes + lane, self.constants["bias"][self._channel + v // count])
                self._sum(sums, count, rows, r, column)
                self._store(y, sums, count, (at[0], at[1] + r, at[2] + column), places.width)

    def _sum(self, sums: Any, count: int, rows: int, row: Expr, column: Expr) -> None:
        """Write the loops over channels and the window."""
        code, f, image, lines = self.code, self.f, self.code.over, self.code._lines
        line = len(lines.phases) * lines.length
        taps = image.kernel[0] * image.kernel[1]
        first = (self.group * code.out_depth + self.first) * (code._groups * taps)
        with f.loop(code._groups) as k, f.loop(image.kernel[0]) as kh:
            start = (k * image.band(rows, 0) + row * image.moves[0] + kh * image.dilations[0]) * line + column
            for kw in range(image.kernel[1]):
                weights = first + ((k * image.kernel[0] + kh) * image.kernel[1] + kw) * self.part.width
                place = start + lines.at(kw * image.dilations[1], image.strides[1])
                self._step(sums, count, weights, place)

    def _step(self, sums: Any, count: int, weights: Expr, place: Expr) -> None:
        """Add the products of one tap, of one group of channels."""
        code, f, lanes = self.code, self.f, self.code.machine.lanes
        copy, packed = self.constants["scratch"], self.constants["weights"]
        if code._products == 1:
            for c in range(self.part.width):
                weight = f.let(cast(code.dot.sums, packed[weights + c]))
                for v in range(count):
                    with f.loop(lanes, "vector") as lane:
                        at = (c * count + v) * lanes + lane
                        operand = cast(code.dot.sums, copy[place + v * lanes + lane])
                        f.store(sums, at, sums[at] + operand * weight)
            return
        kind = f"int{32 // code._products}x{code._products * lanes}"
        operands = [f.let(bits(kind, copy[span(place + v * lanes, lanes)])) for v in range(count)]
        for c in range(self.part.width):
            weight = f.let(bits(kind, repeat(packed[weights + c], lanes)))
            for v, operand in enumerate(operands):
                at = span((c * count + v) * lanes, lanes)
                f.store(sums, at, self._added(sums[at], operand, weight))

    def _added(self, total: Expr, operands: Expr, weights: Expr) -> Expr:
        lanes = self.code.machine.lanes
        if self.code._bytewise:
            return QuadsU8(lanes).sum(total, operands, weights)
        return total + pair_sums(lanes, operands, weights)

    def _store(self, y: Any, sums: Any, count: int, at: tuple[Expr, Expr, Expr], columns: int) -> None:
        """Scale the sums and store them, by way of memory, so that one loop over the channels does for all."""
        code, f, image, lanes = self.code, self.f, self.code.over, self.code.machine.lanes
        size = self.part.width * count * lanes
        made = f.local(code.dot.sums, size)
        with f.loop(size // lanes, "unroll") as i, f.loop(lanes, "vector") as lane:
            f.store(made, i * lanes + lane, sums[i * lanes + lane])
        with f.loop(self.part.width) as c:
            channel = f.let(self._channel + c)
            plane = (at[0] * image.out_channels + channel) * image.out_height + at[1]
            target = f.let(plane * image.out_width + at[2])

            def one(i: Expr) -> None:
                result = code.finish(made[c * (count * lanes) + i], channel, self.constants)
                f.store(y, target + i, code.stored(result, target + i, self.constants))

            along(f, columns, lanes, one)


@kernel("Conv")
class PlaneConvolution(Planes, IntegerMac):
    """Convolution of integers."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights, the sums to begin with, and the scales of the channels."""
        weights = self.packed(self.filter().astype(np.int8 if self._bytewise else np.int16))
        joined = weights.view(np.int32) if self._products > 1 else weights
        start = self.compensated_sums() if self._bytewise else self.first_sums()
        return {"weights": joined, "bias": start.astype(np.int32), **self.scale.constants(self.over.out_channels)}


@kernel("Conv")
class FloatPlaneConvolution(Planes, FloatMac):
    """Convolution of f32."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights and the bias."""
        return {"weights": self.packed(self.filter()), "bias": self.first_sums().astype(np.float32)}
