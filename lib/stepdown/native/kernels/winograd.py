"""Convolutions of 3 × 3 without stride by fewer products: `cook_toom` says which, and where the formulas are from.

The image is cut into tiles of m × m results. Transformed, a tile is n × n places (n = m + 2) with all its channels, and
the sum over the channels is a product of matrices at each place: [tiles, C] · [C, O]. Results are transformed back.

    operands[chunk of C][place][tile][channel]   weights[place][channel of a chunk][O of a block]   sums[place][tile][O]

Weights are stored as they are and transformed at each run, a block of channels at a time, which stays in the cache: it
costs as much as one or two tiles, and the transformed ones are up to four times larger than what is read here.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from stepdown.native.constant_products import product
from stepdown.native.cook_toom import POINTS, TAPS, Matrix, MinimalFilter
from stepdown.native.effort import FROM_FUSIONS
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Buffers, Choice, kernel
from stepdown.native.kernels.conv import FloatMac, Mac
from stepdown.native.kernels.image import Cut, blocks_of, cuts, rounds_of_blocks
from stepdown.native.kernels.tile_sizes import WITHOUT, TileSizes
from stepdown.native.kernels.tiling import Tiling
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tir import Expr, Function, const

_GAIN, _LEEWAY = 0.8, 1.15
"""Of the cost of a plain convolution, and of the least cost: what costs more is not worth less exact sums, and smaller
tiles, whose sums are more exact, may cost a little more."""

_LEAST_BYTES, _ROOM = 1 << 14, 16
"""Of memory beside tensors where tiles pay; how much more of it the operands may take: they are read in a row."""


class WinogradCode(OverWindows, Mac):
    """A convolution of 3 × 3; a subclass says of which numbers."""

    levels = FROM_FUSIONS

    def prepare(self) -> None:
        """Choose the size of the tiles; refuse what is not 3 × 3 without stride, or is as fast without."""
        self.over = image = self.image()
        plain = (image.kernel, image.strides, image.dilations, image.group) == ((TAPS, TAPS), (1, 1), (1, 1), 1)
        if not plain or self.machine.scratch_bytes < _LEAST_BYTES:
            raise self.refuse("is no convolution of 3 × 3 with memory beside it")
        lanes = self.dot.lanes
        operands = _ROOM * self.machine.scratch_bytes // 4
        registers, shared = self.machine.registers, self.machine.shares
        found = [Tiling(image, MinimalFilter(m), lanes, registers, operands, shared) for m in POINTS]
        least = min(each.cost() for each in found)
        by_rule = next(each for each in found if each.cost() <= _LEEWAY * least)
        direct = TAPS**2 * image.out_height * image.out_width * image.channels * by_rule.vectors
        if by_rule.cost() > _GAIN * direct:
            raise self.refuse("takes longer by tiles")
        costs = {each.filter.results: each.cost() for each in found}
        text = f"tiles {self.dot.text} {image.text} in {self.machine.scratch_bytes}"
        self.sizes = TileSizes(text, {**costs, WITHOUT: direct}, by_rule.filter.results)
        if (taken := self.sizes.taken(self.machine.schedules)) == WITHOUT:
            raise self.refuse("was found to be as fast without tiles")
        (self.tiling,) = [each for each in found if each.filter.results == taken]
        self._filter, self._lanes = self.tiling.filter, lanes

    def choice(self) -> Choice:
        """Return the sizes of tiles."""
        return self.sizes.choice(self._filter.results)

    def band(self) -> Band:
        """Return how the rows of one row of tiles are copied."""
        return Band(self.tiling.whole, "float32", self.opened, 0, 4 * self._lanes)

    @cached_property
    def _starts(self) -> tuple[int, int, int, int]:
        """Where operands, weights and sums begin in the scratch memory, after the copied rows, and where it ends."""
        return self.tiling.starts(self.band().elements(self._filter.results, self.tiling.whole.out_width))

    @property
    def scratch(self) -> tuple[str, int]:
        """Copied rows, operands and weights transformed, and sums."""
        return "float32", self._starts[-1]

    # --- constants

    def packed_weights(self) -> np.ndarray:
        """Return the weights as they are read: of blocks of vectors [C, vectors, 3 · 3, lanes], in float32."""
        w = self.filter().transpose(0, 2, 3, 1)  # [O, KH, KW, C]
        filled = np.pad(w, ((0, self.tiling.vectors * self._lanes - len(w)), (0, 0), (0, 0), (0, 0)))
        cut = filled.reshape(self.tiling.vectors, self._lanes, TAPS**2, self.over.channels)
        blocks = [cut[b.first : b.end].reshape(b.count, b.width, *cut.shape[1:]) for b in self.tiling.blocks]
        return np.concatenate([b.transpose(0, 4, 1, 3, 2).ravel() for b in blocks])

    def packed_bias(self) -> np.ndarray:
        """Return the bias, channels filled up to whole vectors."""
        fill = self.tiling.vectors * self._lanes - self.over.out_channels
        return np.pad(self.first_sums().astype(np.float32), (0, fill))

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights and bias."""
        return {"weights": self.packed_weights(), "bias": self.packed_bias()}

    def opened_weight(self, value: Expr) -> Expr:
        """Return a stored weight as float32."""
        return value

    # --- code

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, rows of tiles, and blocks of output channels.

        Threads share the blocks of all rows: those that have blocks of the same rows each transform their operands.
        """
        tiling, rounds = self.tiling, cuts(self.tiling.tiles[0], self.tiling.rows)
        f.anew = tiling.operands_share / sum(part.count for part in rounds)
        with f.loop(self.over.batch) as batch:
            for first, part, own in rounds_of_blocks(f, rounds, sum(b.count for b in tiling.blocks), f.shares):
                with f.loop(part.width) as row:
                    self._operands(f, inputs[0], constants["scratch"], (batch, first + row), row)
                for vector, block in blocks_of(f, tiling.blocks, own):
                    self._sums(f, constants, vector, block.width, part.width * tiling.tiles[1])
                    self._results(f, results[0], constants, (batch, first), part.width, vector, block)

    def _operands(self, f: Function, x: Any, scratch: Any, at: tuple[Expr, Expr], row: Expr) -> None:
        """Transform a row of tiles, the one `at` (image, row of tiles), as the `row`-th of those held."""
        image, m, n, depth = self.tiling.whole, self._filter.results, self._filter.size, self.tiling.depth
        self.band().write(f, x, scratch, (at[0], at[1] * m, 0), (m, image.out_width))
        columns = image.band(image.out_width, 1)
        for chunk in cuts(image.channels, depth):
            with f.loop(chunk.count) as k, f.loop(self.tiling.tiles[1]) as tile:
                held = (chunk.first // depth + k) * (self.tiling.places * self.tiling.operand_plane) + self._starts[0]
                target = f.let(held + (row * self.tiling.tiles[1] + tile) * chunk.width)
                source = f.let(tile * (m * image.channels) + chunk.first + k * chunk.width)
                for piece in cuts(chunk.width, self._lanes):
                    with f.loop(piece.count) as v, f.loop(piece.width, "vector") as lane:
                        channel = piece.first + v * piece.width + lane
                        tiled = [
                            [f.let(scratch[source + (i * columns + j) * image.channels + channel]) for j in range(n)]
                            for i in range(n)
                        ]
                        for place, value in enumerate(_both(f, self._filter.inward, tiled)):
                            f.store(scratch, target + place * self.tiling.operand_plane + channel, value)

    def _sums(self, f: Function, constants: Buffers, vector: Expr, width: int, tiles: int) -> None:
        """Sum over all channels for `width` vectors of output channels from `vector` on."""
        depth, scratch = self.tiling.depth, constants["scratch"]
        chunks = cuts(self.over.channels, depth)
        several = len(chunks) > 1 or chunks[0].count > 1
        if several:
            with f.loop(self.tiling.places) as place, f.loop(tiles * width) as i, f.loop(self._lanes, "vector") as lane:
                at = self._starts[2] + place * self.tiling.sum_plane + i * self._lanes + lane
                f.store(scratch, at, const(0.0, "float32"))
        for chunk in chunks:
            with f.loop(chunk.count) as k:
                first = f.let(chunk.first + k * chunk.width)
                self._weights(f, constants, vector, width, first, chunk.width)
                held = self._starts[0] + (chunk.first // depth + k) * (self.tiling.places * self.tiling.operand_plane)
                self._products(f, scratch, f.let(held), width, tiles, chunk.width, several)

    def _weights(self, f: Function, constants: Buffers, vector: Expr, width: int, first: Expr, depth: int) -> None:
        """Transform the weights of `width` vectors from `vector` on, of `depth` input channels from `first` on."""
        lanes, weights, scratch = self._lanes, constants["weights"], constants["scratch"]
        with f.loop(depth) as c, f.loop(width) as v:
            source = f.let((vector * self.over.channels + (first + c) * width + v) * (TAPS**2 * lanes))
            target = f.let(self._starts[1] + (c * width + v) * lanes)
            with f.loop(lanes, "vector") as lane:
                taps = [
                    [f.let(self.opened_weight(weights[source + (i * TAPS + j) * lanes + lane])) for j in range(TAPS)]
                    for i in range(TAPS)
                ]
                for place, value in enumerate(_both(f, self._filter.of_weights, taps)):
                    f.store(scratch, target + place * self.tiling.weight_plane + lane, value)

    def _products(
        self, f: Function, scratch: Any, held: Expr, width: int, tiles: int, depth: int, several: bool
    ) -> None:
        """Multiply the matrices of every place; `held` is where the operands of a chunk of channels are."""
        lanes, cut = self._lanes, self.tiling
        with f.loop(self.tiling.places) as place:
            for across in cuts(width, cut.in_registers[1]):
                with f.loop(across.count) as j:
                    vector = across.first + j * across.width
                    for along in cuts(tiles, cut.in_registers[0]):
                        with f.loop(along.count) as i:
                            tile = along.first + i * along.width
                            operands = f.let(held + place * self.tiling.operand_plane + tile * depth)
                            weights = f.let(self._starts[1] + place * self.tiling.weight_plane + vector * lanes)
                            sums = self._starts[2] + place * self.tiling.sum_plane + (tile * width + vector) * lanes
                            shape = (along.width, across.width)
                            self._block(f, scratch, (operands, weights, f.let(sums)), shape, width, depth, several)

    def _block(
        self, f: Function, scratch: Any, at: tuple[Expr, Expr, Expr], shape: tuple[int, int], width: int, depth: int,
        several: bool,
    ) -> None:  # fmt: skip
        """Multiply for tiles × vectors that stay in registers; `at` is where operands, weights and sums begin."""
        lanes, (tiles, vectors) = self._lanes, shape
        operands, weights, sums = at
        held = f.local("float32", tiles * vectors * lanes)
        every = [(t, v) for t in range(tiles) for v in range(vectors)]
        for t, v in every:
            with f.loop(lanes, "vector") as lane:
                before = scratch[sums + (t * width + v) * lanes + lane] if several else const(0.0, "float32")
                f.store(held, (t * vectors + v) * lanes + lane, before)
        with f.loop(depth) as k:
            for t in range(tiles):
                operand = f.let(scratch[operands + t * depth + k])
                for v in range(vectors):
                    with f.loop(lanes, "vector") as lane:
                        to = (t * vectors + v) * lanes + lane
                        f.store(held, to, held[to] + operand * scratch[weights + (k * width + v) * lanes + lane])
        for t, v in every:
            with f.loop(lanes, "vector") as lane:
                f.store(scratch, sums + (t * width + v) * lanes + lane, held[(t * vectors + v) * lanes + lane])

    def _results(
        self, f: Function, y: Any, constants: Buffers, at: tuple[Expr, Expr], rows: int, vector: Expr, block: Cut
    ) -> None:
        """Transform the sums of a block of output channels back and store them, from (image, row of tiles) on."""
        image, m = self.over, self._filter.results
        used = block.width * self._lanes
        if block.end == self.tiling.vectors:
            used -= self.tiling.vectors * self._lanes - image.out_channels
        with f.loop(rows) as row:
            for across in cuts(image.out_width, m):
                with f.loop(across.count) as i:
                    column = across.first + i * across.width
                    tile = row * self.tiling.tiles[1] + across.first // m + i
                    for piece in cuts(used, self._lanes):
                        with f.loop(piece.count) as v:
                            part = f.let(piece.first + v * piece.width)
                            source = f.let(self._starts[2] + tile * (block.width * self._lanes) + part)
                            first = f.let((at[1] + row) * m)
                            channel = f.let(vector * self._lanes + part)
                            pixel = f.let((at[0] * image.out_height + first) * image.out_width + column)
                            self._tile(f, y, constants, source, pixel, first, channel, across.width, piece.width)

    def _tile(
        self, f: Function, y: Any, constants: Buffers, source: Expr, pixel: Expr, first: Expr, channel: Expr,
        columns: int, lanes: int,
    ) -> None:  # fmt: skip
        """Transform the sums of a tile from `source` on; store `columns` of its results, and the rows in the image."""
        image, m, n = self.over, self._filter.results, self._filter.size
        scratch = constants["scratch"]
        with f.loop(lanes, "vector") as lane:
            sums = [
                [f.let(scratch[source + (i * n + j) * self.tiling.sum_plane + lane]) for j in range(n)]
                for i in range(n)
            ]
            made = _both(f, self._filter.outward, sums)
            start = f.let(constants["bias"][channel + lane])
            finished = [f.let(self.finish(value + start, channel + lane, constants)) for value in made]
            whole = image.out_height % m or m

            def row(i: int) -> None:
                for j in range(columns):
                    target = (pixel + i * image.out_width + j) * image.out_channels + channel + lane
                    f.store(y, target, self.stored(finished[i * m + j], target, constants))

            for i in range(whole):
                row(i)
            if whole < m:
                with f.when(first + m <= image.out_height):
                    for i in range(whole, m):
                        row(i)


def _both(f: Function, matrix: Matrix, square: Sequence[Sequence[Expr]]) -> list[Expr]:
    """Return matrix · square · matrixᵀ, row after row."""
    columns = [product(f, matrix, column) for column in zip(*square, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in product(f, matrix, row)]


@kernel("Conv", first=True)
class Winograd(WinogradCode, FloatMac):
    """Of f32."""
