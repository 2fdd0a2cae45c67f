"""Convolutions of each channel by itself: vectors are neighbouring channels, sums of some positions stay in registers.

Of some channels the lines that a few rows of results need are copied (`lines`). Two rows of results that meet the same
lines are made together: an operand is loaded once for all the sums that it belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from stepdown.native.dots import PAIR_SUMS, pair_sums
from stepdown.native.effort import FROM_BLOCKS
from stepdown.native.kernels.base import SHARES, Buffers, Choice, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import Strip, counted, cuts, kept, powers, strips
from stepdown.native.kernels.lines import Geometry, Lines
from stepdown.native.kernels.results import STORED, Run
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tir import Expr, Function, bits, cast, const, span

_SUMS = 12
"""Sums in registers, of 16: those left hold an operand, a product and weights."""
_LOADS = 1.5
"""What weights cost that are loaded for some positions, in those of a position."""


class DepthwiseCode(OverWindows, Mac):
    """Convolution with as many groups as channels, in and out; a subclass says of which numbers."""

    def prepare(self) -> None:
        """Decide how the work is cut; refuse other convolutions."""
        if not self.is_depthwise:
            raise self.refuse("is not depthwise")
        self.over, self._lanes = self.image(), self.dot.lanes
        is_float = self.dot.sums != "int32"
        self.pairs = not is_float and self.machine.dot in PAIR_SUMS
        dtype = "float32" if is_float else ("int32" if self.pairs else "int16")
        zero_point = 0 if is_float else self.input.zero_point  # type: ignore[attr-defined]
        self.geometry = Geometry(self.over, 2 if self.pairs else 1)
        self.lines = Lines(self.geometry, dtype, zero_point, self._changed, self._lanes)
        most = _SUMS * self.machine.registers // 16 // self.geometry.together
        self._ranked = sorted(range(1, most + 1), key=self._cost)
        by_rule, known = (self._ranked[0], self._fitting), self.machine.schedules.get(self._workload)
        found = (cut for cut in self._others(*by_rule) if known == {"positions": cut[0], "vectors": cut[1]})
        self.positions, self._vectors = next(found, by_rule)
        """Positions whose sums are in registers, and vectors of channels that are copied, at a time."""

    @property
    def _workload(self) -> str:
        """All on which the best schedule depends, as text."""
        kind = f"{self.dot.text} {self.lines.dtype}x{self._lanes}"
        return f"depthwise {kind} {self.over.text} in {self.machine.scratch_bytes}"

    def choice(self) -> Choice:
        """Return other numbers of positions, and in turn with them other numbers of channels."""
        taken = self.positions, self._vectors
        others = [cut for cut in self._others(self._ranked[0], self._fitting) if cut != taken]
        made = [{"positions": p, "vectors": v} for p, v in (taken, *others)]
        return Choice(self._workload, made[0], tuple(made[1:]))

    def _others(self, positions: int, vectors: int) -> list[tuple[int, int]]:
        """Return all cuts that are worth a trial beside the rule's, and that one."""
        whole = -(-self.over.channels // self._lanes)
        sizes = dict.fromkeys(max(1, min(whole, round(vectors * share))) for share in SHARES)
        turns = zip_longest(((p, vectors) for p in self._ranked), ((positions, v) for v in sizes))
        return list(dict.fromkeys(cut for two in turns for cut in two if cut))

    def _cost(self, positions: int) -> float:
        """Return what a row of results costs: positions, and what is loaded for some of them together."""
        return sum(part.count * (part.width + _LOADS) for part in cuts(self.over.out_width, positions))

    def _changed(self, value: Expr) -> Expr:
        """Return an operand less its zero point, as it is copied."""
        dtype, zero_point = self.lines.dtype, self.lines.zero_point
        opened = cast(dtype, self.opened(value))
        return opened - const(zero_point, dtype) if zero_point else opened

    @property
    def _channels(self) -> int:
        """Channels that are copied at a time."""
        return self._vectors * self._lanes

    @property
    def _fitting(self) -> int:
        """Vectors of channels that leave their lines in the nearest memory."""
        whole = -(-self.over.channels // self._lanes)
        fitting = max(1, self.machine.scratch_bytes // 2 // self.lines.pixel_bytes // self._lanes)
        parts = -(-whole // fitting)
        return -(-whole // parts)

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of lines."""
        return self.lines.dtype, self.lines.ring * self.lines.columns * self._channels

    def _packed_weights(self, dtype: type) -> np.ndarray:
        """Return the weights [rows of packed weights, KW, C, step], channels filled up to whole vectors."""
        w = self.geometry.packed(self.filter()[:, 0].transpose(1, 2, 0))
        return np.pad(w, ((0, 0), (0, 0), (0, self.fill), (0, 0))).astype(dtype).ravel()

    def _packed_bias(self, dtype: type) -> np.ndarray:
        return np.pad(self.first_sums().astype(dtype), (0, self.fill))

    @property
    def fill(self) -> int:
        """Channels that fill the last vector up."""
        return -self.over.channels % self._lanes

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, channels and groups of rows: each group copies the lines that are new to it."""
        with f.loop(self.over.batch) as batch:
            for part in cuts(self.over.channels, self._channels):
                with f.loop(part.count) as j:
                    first = j * part.width + part.first
                    _Part(self, f, inputs[0], results[0], constants, batch, first, part.width).write()


@dataclass(frozen=True)
class _Part:
    """All results of `channels` channels of an image, from `channel` on."""

    code: DepthwiseCode
    f: Function
    x: Any
    y: Any
    constants: Buffers
    batch: Expr
    channel: Expr
    channels: int

    @property
    def _strips(self) -> list[Strip]:
        return strips(self.channels, self.code.dot.lanes)

    @property
    def _width(self) -> int:
        """Elements of a copied pixel."""
        return self._strips[-1].end

    def write(self) -> None:
        """Write the loop over groups of rows, which threads share: each copies the lines before its own."""
        geometry, f = self.code.geometry, self.f
        early = max(0, geometry.lines(geometry.together) - geometry.moves)
        groups = cuts(self.code.over.out_height, geometry.together)
        top, bottom = f.share(sum(rows.count for rows in groups))
        self._copy(top * geometry.moves, early)
        for before, rows in counted(groups):
            low, high = (kept(at, before, before + rows.count) for at in (top, bottom))
            with f.between(low, high) as group:
                first = group * geometry.moves
                self._copy(first + early, geometry.lines(rows.width) - early)
                self._sums(group * geometry.together, first, rows.width)

    def _copy(self, first: Expr, count: int) -> None:
        """Copy lines, from the first on."""
        if count <= 0:
            return
        with self.f.loop(count) as k:
            at = self.batch, first + k, self.channel
            self.code.lines.write(self.f, self.x, self.constants["scratch"], at, self.channels, self._width)

    def _sums(self, row: Expr, line: Expr, rows: int) -> None:
        """Write a group of rows of results, the first of which is `row`, from the lines that begin with `line`."""
        f, code, over = self.f, self.code, self.code.over
        starts = [f.let(code.lines.place(line + k, self._width)) for k in range(code.geometry.lines(rows))]
        for strip in self._strips:
            with f.loop(strip.count) as s:
                first = s * strip.lanes + strip.first
                for places in cuts(over.out_width, code.positions):
                    with f.loop(places.count) as p:
                        column = p * places.width + places.first
                        block = _Block(self, strip, first, starts, rows, places.width)
                        made = block.sums(column)
                        pixel = (self.batch * over.out_height + row) * over.out_width + column
                        block.finish(made, pixel)


@dataclass(frozen=True)
class _Block:
    """The sums of a strip of channels, which begin at `first` of the part, at some positions of some rows."""

    part: _Part
    strip: Strip
    first: Expr
    starts: list[Expr]
    rows: int
    positions: int

    def sums(self, column: Expr) -> Any:
        """Write the sums, and return where they are."""
        sums = self.part.f.local(self.part.code.dot.sums, self.rows * self.positions * self.strip.lanes)
        self._start(sums)
        self._taps(sums, column)
        return sums

    @property
    def _channel(self) -> Expr:
        return self.part.channel + self.first

    def _start(self, sums: Any) -> None:
        f, lanes, bias = self.part.f, self.strip.lanes, self.part.constants["bias"]
        for i in range(self.rows * self.positions):
            with f.loop(lanes, "vector") as lane:
                f.store(sums, i * lanes + lane, bias[self._channel + lane])

    def _taps(self, sums: Any, column: Expr) -> None:
        """Write all steps of the windows, line after line, each operand with all the weights that it meets."""
        over = self.part.code.over
        moves, dilation, width = over.moves[1], over.dilations[1], self.part._width
        origin = column * (moves * width) + self.first
        for line, start in enumerate(self.starts):
            weights = self._weights(line)
            for pixel in range((self.positions - 1) * moves + (over.kernel[1] - 1) * dilation + 1):
                met = [
                    (row * self.positions + (pixel - kw * dilation) // moves, weight)
                    for kw in range(over.kernel[1])
                    if 0 <= pixel - kw * dilation <= (self.positions - 1) * moves
                    and (pixel - kw * dilation) % moves == 0
                    for row, weight in weights[kw]
                ]
                if met:
                    self._add(sums, start + origin + pixel * width, met)

    def _weights(self, line: int) -> list[list[tuple[int, Any]]]:
        """Return, by column of the window, the rows of results that a line belongs to, and the weights of each."""
        code, f, buffer = self.part.code, self.part.f, self.part.constants["weights"]
        step, over, across = code.geometry.step, code.over, code.over.channels + code.fill
        rows = [(q, packed) for q in range(self.rows) for at, packed in code.geometry.taps(q) if at == line]

        def weight(packed: int, kw: int) -> Any:
            place = ((packed * over.kernel[1] + kw) * across + self._channel) * step
            return f.let(buffer[span(place, self.strip.lanes * step)]) if code.pairs else place

        return [[(q, weight(packed, kw)) for q, packed in rows] for kw in range(over.kernel[1])]

    def _add(self, sums: Any, place: Expr, met: list[tuple[int, Any]]) -> None:
        """Add the products of the operands at a place of the copy to the sums of the positions that they meet."""
        code, f, lanes = self.part.code, self.part.f, self.strip.lanes
        copy, weights, wide = self.part.constants["scratch"], self.part.constants["weights"], code.dot.sums
        if code.pairs:
            operands = f.let(bits(f"int16x{2 * lanes}", copy[span(place, lanes)]))
            for i, weight in met:
                at = span(i * lanes, lanes)
                f.store(sums, at, sums[at] + pair_sums(lanes, operands, weight))
            return
        for i, weight in met:
            with f.loop(lanes, "vector") as lane:
                product = cast(wide, copy[place + lane]) * cast(wide, weights[weight + lane])
                f.store(sums, i * lanes + lane, sums[i * lanes + lane] + product)

    def finish(self, sums: Any, pixel: Expr) -> None:
        """Scale and store the sums, some at a time; `pixel` is the first of the results."""
        part, over, lanes = self.part, self.part.code.over, self.strip.lanes
        places = [row * over.out_width + p for row in range(self.rows) for p in range(self.positions)]
        for first, _, width in powers(self.strip.used, lanes):
            channel = self._channel + first
            runs = [
                Run(i * lanes + first, (pixel + p) * over.channels + channel, channel) for i, p in enumerate(places)
            ]
            for at in range(0, len(runs), STORED):
                part.code.store(part.f, sums, part.y, runs[at : at + STORED], width, part.constants)


@kernel("Conv")
class Depthwise(DepthwiseCode, IntegerMac):
    """Of integers."""

    levels = FROM_BLOCKS

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights, bias and scales, channels filled up to whole vectors."""
        scales = self.scale.constants(self.over.channels + self.fill)
        return {"weights": self._packed_weights(np.int16), "bias": self._packed_bias(np.int32), **scales}


@kernel("Conv")
class FloatDepthwise(DepthwiseCode, FloatMac):
    """Of f32."""

    levels = FROM_BLOCKS

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias, channels filled up to whole vectors."""
        return {"weights": self._packed_weights(np.float32), "bias": self._packed_bias(np.float32)}
