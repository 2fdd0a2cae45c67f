"""Sums of products over windows of an image whose channels lie last: the core of convolutions and matrix products.

Some rows of the image are copied with their padding, in the type that the processor multiplies; over the copy, a block
of positions × channels of sums stays in registers for the whole depth of the sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np

from stepdown.native.dots import Dot, packed
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import SHARES, Buffers, Choice
from stepdown.native.kernels.image import Cut, Image, counted, cuts, last_apart, rounds
from stepdown.native.kernels.results import STORED, Run
from stepdown.native.kernels.tiles import Block, Tile, shared_tiles, tiles, unevenness, units
from stepdown.native.machine import Machine
from stepdown.native.tir import Expr, Function

Finish = Callable[[Function, Any, Any, Sequence[Run], int, Buffers], None]
"""Writes what is stored of runs of sums, as `Mac.store`; channels are those of groups filled up to vectors."""
_MOST_POSITIONS = 12
_VECTORS = (1, 2, 4)
_MACS_A_BYTE, _BYTES_FROM_AFAR = 8, 6
"""What is multiplied while a byte is copied or read; what is copied while one comes from another thread's cache."""


class MacCode:
    """The code of the sums over an image."""

    def __init__(self, image: Image, dot: Dot, band: Band, machine: Machine) -> None:
        self.image, self.dot, self._band = image, dot, band
        self._limit, self._registers, self._schedules = machine.scratch_bytes, machine.registers, machine.schedules
        self.depth = image.channels // image.group
        self.out_depth = image.out_channels // image.group
        self.vectors = -(-self.out_depth // dot.lanes)
        """Vectors of channels of a group."""

    # --- how it is cut

    @property
    def jumps(self) -> int:
        """Columns of the window that are not part of one run."""
        return self.image.kernel[1] * self.depth // self.image.run

    @property
    def steps(self) -> int:
        """Steps of the dot product a run."""
        return -(-self.image.run // self.dot.group)

    @property
    def vector_weights(self) -> int:
        """Packed weights of one vector of channels."""
        return self.image.kernel[0] * self.jumps * self.steps * self.dot.group * self.dot.lanes

    @property
    def workload(self) -> str:
        """All on which the best block depends, as text."""
        return f"sums {self.dot.text} {self.image.text} in {self._limit}"

    @cached_property
    def block(self) -> Block:
        """How the work is cut: as was found by measuring, if that is a choice, else as the rule of cost says."""
        known, by_rule = self._schedules.get(self.workload), self._ranked[0]
        return next((block for block in self._others if known == asdict(block)), by_rule)

    @property
    def choice(self) -> Choice:
        """The block, and others: of other shapes, and in turn with them those that copy less or more at a time."""
        others = [block for block in self._others if block != self.block]
        return Choice(self.workload, asdict(self.block), tuple(asdict(block) for block in dict.fromkeys(others)))

    @property
    def _others(self) -> list[Block]:
        """All blocks that are worth a trial, the rule's among them."""
        shapes, sizes = self._ranked, [self._cut(self._ranked[0], part) for part in SHARES]
        return [block for pair in zip_longest(shapes, sizes) for block in pair if block]

    @cached_property
    def _ranked(self) -> list[Block]:
        """Blocks by the cost of a row of results, each with a copy that fits."""
        width = self.image.out_width
        shapes = [
            (self._cost(p, v), -p, v)
            for v in _VECTORS
            for p in range(1, min(_MOST_POSITIONS, width) + 1)
            if v <= self.vectors and p * v + v + 1 + self.dot.between <= self._registers
        ]
        return [self._fitting(-negative, vectors) for _, negative, vectors in sorted(shapes)]

    def _fitting(self, positions: int, vectors: int) -> Block:
        """Return a block whose copy fits."""
        image, width = self.image, self.image.out_width
        if image.is_flat:
            fitting = self._limit // self._band.pixel_bytes // positions * positions
            return Block(1, min(width, max(positions, fitting)), positions, vectors)
        fitting = sum(self._band.bytes(rows, width) <= self._limit for rows in range(1, image.out_height + 1))
        rounds = -(-image.out_height // max(1, fitting))
        return Block(-(-image.out_height // rounds), width, positions, vectors)

    def _cut(self, block: Block, part: float) -> Block:
        """Return a block that copies a part as much at a time, or several times as much."""
        if self.image.is_flat:
            columns = round(block.columns * part / block.positions) * block.positions
            return replace(block, columns=min(self.image.out_width, max(block.positions, columns)))
        return replace(block, rows=min(self.image.out_height, max(1, round(block.rows * part))))

    def _cost(self, positions: int, vectors: int) -> float:
        """Return what a step costs over a row of results, rests included: products and sums, or loads."""
        across = cuts(self.vectors, vectors)
        places = cuts(self.image.out_width, positions)
        return sum(
            c.count * p.count * max(0.5 * c.width * p.width, 0.5 * (c.width + p.width)) + 0.1 * c.count * p.count
            for c in across
            for p in places
        )

    @property
    def copies(self) -> bool:
        """Whether rows are copied; else they are read where they are."""
        whole_steps = self.depth % self.dot.group == 0
        return not (self.image.is_flat and self._band.as_it_is and whole_steps)

    @property
    def scratch(self) -> int:
        """Elements of the copy, with room for the last step of the last run."""
        return self._band.elements(self.block.rows, self.block.columns) + self.dot.group

    # --- constants

    def weights(self, w: np.ndarray) -> np.ndarray:
        """Return w[O, C / group, KH, KW] packed: by group and block of channels, then as a sum goes."""
        parts = []
        for of_group in np.split(w, self.image.group):
            runs = of_group.transpose(0, 2, 3, 1).reshape(len(of_group), -1, self.image.run)
            filled = np.pad(runs, ((0, 0), (0, 0), (0, self.steps * self.dot.group - self.image.run)))
            parts.append(packed(filled.reshape(len(of_group), -1), self.dot, self.block.vectors))
        return np.concatenate(parts)

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Return one value a channel, every group filled up to whole vectors."""
        fill = self.vectors * self.dot.lanes - self.out_depth
        return np.concatenate([np.pad(v, (0, fill), "edge") for v in np.split(values, self.image.group)])

    # --- code

    def write(self, f: Function, x: Any, y: Any, constants: Buffers, finish: Finish) -> None:
        """Write the loops over images, rows and groups; threads share rows, or channels, whatever costs less."""
        by_channels = self._shares_channels
        parts = last_apart(cuts(self.vectors, self.block.vectors))
        constants = {**constants, "operands": constants["scratch"] if self.copies else x}
        for tile in (tiles if by_channels or not f.shares else shared_tiles)(f, self.image, self.block):
            if self.copies:
                tile.copy(f, self._band, x, constants["scratch"])
            with f.loop(self.image.group) as group:
                for before, part in counted(parts):
                    with rounds(f, part.count, before, parts, by_channels) as i:
                        block = _Block(self, f, constants, tile, group, part, part.first + i * part.width)
                        block.write(y, finish)

    @property
    def _shares_channels(self) -> bool:
        """Whether two threads share channels: each copies all rows then; else rows, and each reads all weights.

        Where neighbours share rows, a thread finds most of what it reads where it wrote it itself; of channels it has
        to get half of it from the other, as has the next op.
        """
        image, wide = self.image, {"int32": 1, "float64": 2}.get(self.dot.sums, 4)
        pixels, weights = image.batch * image.out_height * image.out_width, self.vector_weights * self.vectors
        rounds_down = -(-image.out_height // self.block.rows)
        rows = image.out_height if image.is_flat else self.block.rows
        copied = image.batch * rounds_down * self._band.bytes(rows, image.out_width) if self.copies else 0
        given = image.batch * image.height * image.width * image.channels
        fetched = wide * (given + pixels * image.out_channels) * _BYTES_FROM_AFAR
        read, macs = wide * weights * image.group, pixels * weights * image.group / _MACS_A_BYTE
        by_rows = macs * unevenness(units(image, self.block)) + read + copied / 2
        by_channels = macs * unevenness(-(-self.vectors // self.block.vectors)) + read / 2 + copied + fetched / 2
        return by_channels < by_rows


@dataclass(frozen=True)
class _Block:
    """Some vectors of channels of a group, at all positions of a tile; `vector` is the first."""

    code: MacCode
    f: Function
    constants: Buffers
    tile: Tile
    group: Expr
    part: Cut
    vector: Expr

    def write(self, y: Any, finish: Finish) -> None:
        """Write the loops over positions, and the sums and results of each."""
        f, lanes = self.f, self.code.dot.lanes
        for places in self.tile.places:
            with places.given(f), f.loop(self.tile.rows) as row, f.loop(places.count) as i:
                column = places.first + i * places.width
                sums = f.local(self.code.dot.sums, self.part.width * places.width * lanes)
                self._start(sums, places.width)
                self._sum(sums, places.width, row, column)
                self._finish(sums, places.width, row, column, y, finish)

    @property
    def _channel(self) -> Expr:
        """The first channel among those of all groups, filled up."""
        return (self.group * self.code.vectors + self.vector) * self.code.dot.lanes

    def _at(self, position: int, vector: int) -> int:
        return (position * self.part.width + vector) * self.code.dot.lanes

    def _start(self, sums: Any, positions: int) -> None:
        lanes = self.code.dot.lanes
        for v in range(self.part.width):
            for p in range(positions):
                with self.f.loop(lanes, "vector") as lane:
                    self.f.store(sums, lane + self._at(p, v), self.constants["bias"][self._channel + v * lanes + lane])

    def _sum(self, sums: Any, positions: int, row: Expr, column: Expr) -> None:
        """Write the loops over the window and the runs of its rows."""
        code, f, image, dot = self.code, self.f, self.code.image, self.code.dot
        line = image.band(self.tile.columns, 1) * image.channels
        across = image.moves[1] * image.channels
        first = (self.group * code.vectors + self.vector) * code.vector_weights
        origin = row * (image.moves[0] * line) + column * across + self.group * code.depth
        if not code.copies:
            origin = origin + self.tile.column * across
        in_line = dot.in_line if code.steps % dot.in_line == 0 else 1
        with (
            f.loop(image.kernel[0]) as kh, f.loop(code.jumps) as kw,
            f.loop(code.steps // in_line) as several, f.loop(in_line, "unroll") as one,
        ):  # fmt: skip
            k = several * in_line + one
            step = (kh * code.jumps + kw) * code.steps + k
            packed_at = first + step * (dot.group * dot.lanes * self.part.width)
            weights = [
                dot.weights(f, self.constants["weights"], packed_at + v * (dot.group * dot.lanes))
                for v in range(self.part.width)
            ]
            start = origin + kh * (image.dilations[0] * line) + kw * (image.dilations[1] * image.channels)
            for p in range(positions):
                operands = dot.operands(f, self.constants["operands"], start + k * dot.group + p * across)
                for v, weight in enumerate(weights):
                    dot.add(f, sums, self._at(p, v), operands, weight)

    def _finish(self, sums: Any, positions: int, row: Expr, column: Expr, y: Any, finish: Finish) -> None:
        """Scale the sums and store them; the last vector of a group may have fewer channels than lanes.

        Through memory, so that one loop over the positions does for all, or in line: more code, in less time.
        """
        code, f, image, lanes = self.code, self.f, self.code.image, self.code.dot.lanes
        pixel = (self.tile.batch * image.out_height + self.tile.row + row) * image.out_width + self.tile.column + column
        made = f.local(self.code.dot.sums, self.part.width * positions * lanes)
        with f.loop(self.part.width * positions, "unroll") as i, f.loop(lanes, "vector") as lane:
            f.store(made, i * lanes + lane, sums[i * lanes + lane])
        used = self.part.width * lanes
        if self.part.end == code.vectors and self.part.count == 1:
            used -= code.vectors * lanes - code.out_depth
        with f.loop(positions, "unroll" if code.dot.in_line > 1 else "serial") as p:
            target = (pixel + p) * image.out_channels + self.group * code.out_depth + self.vector * lanes
            for piece in cuts(used, STORED * lanes):
                for first in range(piece.first, piece.end, piece.width):
                    run = Run(p * (self.part.width * lanes) + first, target + first, self._channel + first)
                    finish(f, made, y, [run], piece.width, self.constants)
