"""Convolutions of images whose channels lie in blocks, [N, C / x, H, W, x], x the lanes of a register.

The sums are those of `mac`: an operand is loaded for all lanes, weights lie by lane, and a block of positions × vectors
of channels stays in registers. What differs is where things lie: an operand's neighbours are the other channels of its
block, a result is one store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from stepdown.native.dots import packed
from stepdown.native.effort import BLOCKED, FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.conv import FloatMac, IntegerMac, Mac
from stepdown.native.kernels.image import Cut, Image, along, counted, cuts, rounds
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tensors import Order, blocked
from stepdown.native.tir import Expr, Function, const

_VECTORS = (1, 2, 3, 4)
_MOST_POSITIONS = 12
_FEW_TILES = 6


class BlockedMac(OverWindows, Mac):
    """Sums over blocks of channels; a subclass says of which numbers."""

    order = BLOCKED
    levels = FROM_BLOCKS

    def prepare(self) -> None:
        """Decide how the work is cut; refuse groups, whose channels are parts of blocks."""
        if self.image().group > 1:
            raise self.refuse("has groups")
        self.over, self.lanes = self.image().in_rows(), self.dot.lanes
        self.vectors = -(-self.over.out_channels // self.lanes)
        self.blocks = -(-self.over.channels // self.lanes)

    def choice(self) -> None:
        """Return that a rule alone says how the work is cut."""

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return that image and result lie in blocks."""
        rank = len(self.op.results[0].type.get_shape())
        return [blocked(rank, self.lanes)], [blocked(rank, self.lanes)]

    # --- how it is cut

    @cached_property
    def registers(self) -> tuple[int, int]:
        """Positions and vectors of sums in registers: as many as fit, the cheapest for the width at hand."""
        shapes = [
            (self._cost(p, v), p, v)
            for v in _VECTORS
            for p in range(1, min(_MOST_POSITIONS, self.over.out_width) + 1)
            if v <= self.vectors and p * v + v + 1 <= self.machine.registers
        ]
        _, positions, vectors = min(shapes)
        return positions, vectors

    def _cost(self, positions: int, vectors: int) -> float:
        """Return what a step costs over a row of results, rests included: products, or loads."""
        return sum(
            c.count * p.count * (max(c.width * p.width, c.width + p.width) + 0.2)
            for c in cuts(self.vectors, vectors)
            for p in cuts(self.over.out_width, positions)
        )

    @property
    def columns(self) -> int:
        """Columns of results that are made of one copy: all, but of an image that is one row."""
        if self.over.out_height > 1 or self.over.kernel != (1, 1):
            return self.over.out_width
        positions = self.registers[0]
        pixel = self.blocks * self.lanes * self._operand_bytes
        fitting = self.machine.scratch_bytes // pixel // positions * positions
        return min(self.over.out_width, max(positions, fitting))

    @cached_property
    def rows(self) -> int:
        """Rows of results that are made of one copy."""
        down = range(1, self.over.out_height + 1)
        return max(1, sum(self._copied(r) * self._operand_bytes <= self.machine.scratch_bytes for r in down))

    @property
    def _operand_bytes(self) -> int:
        return np.dtype(self.dot.operand).itemsize

    def _copied(self, rows: int) -> int:
        return self.blocks * self.over.band(rows, 0) * self.over.band(self.columns, 1) * self.lanes

    @property
    def scratch(self) -> tuple[str, int]:
        """The copy of rows."""
        return self.dot.operand, self._copied(self.rows)

    # --- constants

    def packed(self, w: np.ndarray) -> np.ndarray:
        """Return w[O, C, KH, KW] by block of results: [C / x, KH, KW, x / group, vectors, x, group]."""
        filled = np.pad(w, ((0, 0), (0, self.blocks * self.lanes - w.shape[1]), (0, 0), (0, 0)))
        cut = filled.reshape(len(w), self.blocks, self.lanes, *w.shape[2:]).transpose(0, 1, 3, 4, 2)
        return packed(cut.reshape(len(w), -1), self.dot, self.registers[1])

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Return one value a channel, filled up to whole blocks."""
        return np.pad(values, (0, self.vectors * self.lanes - len(values)), "edge")

    # --- code

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, copies of rows, and blocks of results; threads share copies, or blocks."""
        image = self.over
        down, across = cuts(image.out_height, self.rows), cuts(image.out_width, self.columns)
        parts = cuts(self.vectors, self.registers[1])
        tiles = max(sum(c.count for c in down), sum(c.count for c in across))
        by_blocks = tiles < _FEW_TILES
        flat = len(down) == 1 and down[0].count == 1
        with f.loop(image.batch) as n:
            for above, d in counted(down):
                with rounds(f, d.count, above, down, not by_blocks and not flat) as i:
                    for left, a in counted(across):
                        with rounds(f, a.count, left, across, not by_blocks and flat) as j:
                            place = (n, d.first + i * d.width, a.first + j * a.width)
                            self._copy(f, inputs[0], constants["scratch"], place, (d.width, a.width))
                            for before, part in counted(parts):
                                with rounds(f, part.count, before, parts, by_blocks) as b:
                                    block = _Block(self, f, constants, part, part.first + b * part.width)
                                    block.write(results[0], place, (d.width, a.width))

    def _copy(self, f: Function, x: Any, copy: Any, at: tuple[Expr, Expr, Expr], size: tuple[int, int]) -> None:
        """Copy what `size` results from (image, row, column) `at` on need, with its padding, as the dot takes it."""
        image, band = self.over, self.band()
        rows, columns = image.band(size[0], 0), image.band(size[1], 1)
        left, kept, first = _inside(image, columns, size[1])
        line, change = columns * self.lanes, band.change
        with f.loop(self.blocks) as block, f.loop(rows) as r:
            row = f.let(at[1] * image.strides[0] + r * image.steps[0] - image.pads[0])
            pixel = ((at[0] * self.blocks + block) * image.height + row) * image.width + at[2] + first
            source = f.let(pixel * self.lanes)
            target = f.let((block * rows + r) * line)

            def fill(begin: int, count: int, target: Expr = target) -> None:
                padding = const(band.padding, band.dtype)
                along(f, count, 4 * self.lanes, lambda i: f.store(copy, target + begin + i, padding))

            def inside(source: Expr = source, target: Expr = target) -> None:
                fill(0, left * self.lanes)
                if image.steps[1] == 1:
                    along(
                        f, kept * self.lanes, 4 * self.lanes,
                        lambda i: f.store(copy, target + left * self.lanes + i, change(x[source + i])),
                    )  # fmt: skip
                else:
                    with f.loop(kept) as c, f.loop(self.lanes, "vector") as lane:
                        place = source + c * (image.steps[1] * self.lanes) + lane
                        f.store(copy, target + (left + c) * self.lanes + lane, change(x[place]))
                fill((left + kept) * self.lanes, line - (left + kept) * self.lanes)

            if image.leaves(0):
                f.either((row >= 0) & (row < image.height), inside, partial(fill, 0, line))
            else:
                inside()


@dataclass(frozen=True)
class _Block:
    """Some vectors of channels, at all positions of a copy; `vector` is the first."""

    code: BlockedMac
    f: Function
    constants: Buffers
    part: Cut
    vector: Expr

    def write(self, y: Any, at: tuple[Expr, Expr, Expr], size: tuple[int, int]) -> None:
        """Write the sums of `size` rows and columns of results, from (image, row, column) `at` on."""
        f, lanes = self.f, self.code.lanes
        for places in cuts(size[1], self.code.registers[0]):
            with f.loop(size[0]) as row, f.loop(places.count) as i:
                column, count = places.first + i * places.width, places.width
                sums = f.local(self.code.dot.sums, self.part.width * count * lanes)
                for v in range(self.part.width):
                    for p in range(count):
                        with f.loop(lanes, "vector") as lane:
                            start = self.constants["bias"][(self.vector + v) * lanes + lane]
                            f.store(sums, lane + self._at(p, v), start)
                self._sum(sums, count, size, row, column)
                self._store(y, sums, count, (at[0], at[1] + row, at[2] + column))

    def _at(self, position: int, vector: int) -> int:
        return (position * self.part.width + vector) * self.code.lanes

    def _sum(self, sums: Any, count: int, size: tuple[int, int], row: Expr, column: Expr) -> None:
        """Write the loops over blocks of channels, the window, and the channels of a block that there are."""
        code, image = self.code, self.code.over
        whole, rest = divmod(image.channels, code.lanes)
        for first, blocks, channels in ((0, whole, code.lanes), (whole, int(rest > 0), rest)):
            if blocks:
                with self.f.loop(blocks) as b, self.f.loop(image.kernel[0]) as kh, self.f.loop(image.kernel[1]) as kw:
                    self._tap(sums, count, size, (row, column), (first + b, kh, kw), channels)

    def _tap(
        self, sums: Any, count: int, size: tuple[int, int], at: tuple[Expr, Expr], tap: tuple[Expr, Expr, Expr],
        channels: int,
    ) -> None:  # fmt: skip
        """Add the products of one tap (block, row, column of the window) of `channels` channels."""
        code, f, image, dot = self.code, self.f, self.code.over, self.code.dot
        rows, columns = image.band(size[0], 0), image.band(size[1], 1)
        block, kh, kw = tap
        line = (block * rows + at[0] * image.moves[0] + kh * image.dilations[0]) * columns
        place = f.let((line + at[1] * image.moves[1] + kw * image.dilations[1]) * code.lanes)
        of_vector = code.blocks * image.kernel[0] * image.kernel[1] * code.lanes * code.lanes
        step = dot.group * dot.lanes * self.part.width
        taps = (block * image.kernel[0] + kh) * image.kernel[1] + kw
        weights_at = f.let(self.vector * of_vector + taps * (code.lanes * code.lanes * self.part.width))
        with f.loop(-(-channels // dot.group)) as k:
            start = weights_at + k * step
            weights = [
                dot.weights(f, self.constants["weights"], start + v * (dot.group * dot.lanes))
                for v in range(self.part.width)
            ]
            for p in range(count):
                offset = p * image.moves[1] * code.lanes
                operands = dot.operands(f, self.constants["scratch"], place + offset + k * dot.group)
                for v, weight in enumerate(weights):
                    dot.add(f, sums, self._at(p, v), operands, weight)

    def _store(self, y: Any, sums: Any, count: int, at: tuple[Expr, Expr, Expr]) -> None:
        """Scale the sums and store them, by way of memory, so that one loop over the positions does for all."""
        code, f, image, lanes = self.code, self.f, self.code.over, self.code.lanes
        made = f.local(code.dot.sums, self.part.width * count * lanes)
        with f.loop(self.part.width * count, "unroll") as i, f.loop(lanes, "vector") as lane:
            f.store(made, i * lanes + lane, sums[i * lanes + lane])
        for v in range(self.part.width):
            plane = (at[0] * code.vectors + self.vector + v) * image.out_height + at[1]
            target = f.let((plane * image.out_width + at[2]) * lanes)
            with f.loop(count) as p, f.loop(lanes, "vector") as lane:
                total = made[(p * self.part.width + v) * lanes + lane]
                result = code.finish(total, (self.vector + v) * lanes + lane, self.constants)
                place = target + p * lanes + lane
                f.store(y, place, code.stored(result, place, self.constants))


def _inside(image: Image, columns: int, results: int) -> tuple[int, int, int]:
    """Return how many copied columns are padding on the left, how many are pixels, and the first pixel."""
    step, pad = image.steps[1], image.pads[1]
    left = -(-pad // step)
    first = left * step - pad
    size = image.width if results == image.out_width else columns
    return left, max(0, min(columns - left, -(-(size - first) // step))), first


@kernel("Conv")
class BlockedConvolution(BlockedMac, IntegerMac):
    """Convolution of integers."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights, the sums to begin with, and the scales of the channels."""
        start = self.first_sums() if self.dot.centred else self.compensated_sums()
        scales = self.scale.constants(self.vectors * self.lanes)
        return {
            "weights": self.packed(self.filter().astype(np.int8)),
            "bias": self.by_channel(start.astype(np.int32)),
            **scales,
        }


@kernel("Conv")
class FloatBlockedConvolution(BlockedMac, FloatMac):
    """Convolution of f32."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return packed weights and the bias."""
        bias = self.by_channel(self.first_sums().astype(np.float32))
        return {"weights": self.packed(self.filter()), "bias": bias}
