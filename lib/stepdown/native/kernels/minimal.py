"""Convolutions of 3 × 3 integers by minimal filtering: up to four times fewer products, and the same sums to the bit.

The image is cut into tiles of results. Tiles and weights are changed into int16 (`minimal_forms` says how), products of
the same place are summed over the channels, and the sums are changed back. They may wrap: the results are known to fit.

Weights are stored as they are, and changed a block of output channels at a time: that costs little beside the products,
and a block stays in a cache.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, ClassVar

import numpy as np

from stepdown.native.dots import packed, wide_dot
from stepdown.native.effort import FROM_FUSIONS
from stepdown.native.kernels.band import Band
from stepdown.native.kernels.base import Buffers, Choice, kernel
from stepdown.native.kernels.conv import IntegerMac
from stepdown.native.kernels.image import blocks_of, cuts, rounds_in, rounds_of_blocks
from stepdown.native.kernels.minimal_forms import FORMS, both, plus
from stepdown.native.kernels.minimal_plan import Plan, direct_cost
from stepdown.native.kernels.results import Run
from stepdown.native.kernels.tile_sizes import WITHOUT, TileSizes
from stepdown.native.kernels.windows import OverWindows
from stepdown.native.tir import Expr, Function, cast, const, smallest, tirx

Keep = Callable[[Expr], Expr]
_WINDOW = (3, 3)
_ROOM = 8
"""Tiles lie in the next cache, of so much more memory than a chip grants to copies of rows."""


@kernel("Conv", first=True)
class Minimal(OverWindows, IntegerMac):
    """A convolution of 3 × 3 integers in steps of one."""

    levels: ClassVar[range] = FROM_FUSIONS
    packs_two = False

    def prepare(self) -> None:
        """Refuse other convolutions, and those that are as fast without.

        Raises:
            UnsupportedModel: as said.
        """
        image = self.over = self.image()
        plain = image.strides == image.dilations == image.spread == (1, 1) and image.group == 1
        if image.kernel != _WINDOW or not plain or self.machine.is_c:
            raise self.refuse("is no plain convolution of 3 × 3, or becomes C, for which this is too much code")
        direct = direct_cost(image, self.dot)
        self.dot = wide_dot(self.machine)
        if image.channels % self.dot.group or image.out_channels % self.dot.lanes:
            raise self.refuse("has channels that do not fill vectors")
        reach, room = self._reach(), _ROOM * self.machine.scratch_bytes
        plans = [
            Plan(form, image, self.dot, self.machine.registers, room, self.machine.shares)
            for form in FORMS
            if reach < form.most
        ]
        fitting = [plan for plan in plans if plan.bytes <= 4 * room and plan.cost < direct]
        if not fitting:
            raise self.refuse("is as fast without minimal filtering")
        costs = {plan.form.results: plan.cost for plan in fitting}
        text = f"minimal {type(self.dot).__name__} {self.dot.operand}x{self.dot.lanes} {image.text} in {room}"
        self.sizes = TileSizes(text, {**costs, WITHOUT: direct}, min(costs, key=costs.__getitem__))
        if (taken := self.sizes.taken(self.machine.schedules)) == WITHOUT:
            raise self.refuse("was found to be as fast without minimal filtering")
        (self.plan,) = [plan for plan in fitting if plan.form.results == taken]

    def choice(self) -> Choice:
        """Return the sizes of tiles."""
        return self.sizes.choice(self.plan.form.results)

    def _reach(self) -> int:
        """Return what no |sum| exceeds before the bias is added."""
        least, most = (bound - self.input.zero_point for bound in self.input.bounds)
        flat = self.filter().astype(np.int64).reshape(self.over.out_channels, -1)
        up, down = flat.clip(0).sum(1), flat.clip(None, 0).sum(1)
        return int(max((up * most + down * least).max(), -(up * least + down * most).min()))

    def band(self) -> Band:
        """Return how rows are copied, with those that whole tiles have beyond the image."""
        return replace(super().band(), image=self.plan.image)

    @property
    def scratch(self) -> tuple[str, int]:
        """Copied rows, and tiles and weights changed."""
        return "int16", self.plan.starts[-1]

    def constants(self) -> dict[str, np.ndarray]:
        """Return weights [block][tap][as the dot product takes them], the bias, and the scales of the channels."""
        channels, block = self.over.out_channels, self.plan.vectors * self.dot.lanes
        taps = self.filter().astype(np.int8).reshape(channels, self.over.channels, -1)
        blocks = [taps[i : i + block] for i in range(0, channels, block)]
        weights = [packed(b[..., t], self.dot, self.plan.vectors) for b in blocks for t in range(taps.shape[-1])]
        bias = self.first_sums().astype(np.int32)
        return {"weights": np.concatenate(weights), "bias": bias, **self.scale.constants(channels)}

    # --- code

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over images, bands of rows of tiles, and blocks of output channels (see `Cutting`)."""
        plan, scratch = self.plan, constants["scratch"]
        f.anew = plan.anew
        with f.loop(self.over.batch) as n:
            for first, count, own in self._bands(f):
                with f.loop(count) as held:
                    self._change_image(f, inputs[0], scratch, (n, first + held), held)
                for vector, part in blocks_of(f, plan.blocks, own):
                    self._change_weights(f, constants, vector, part.width)
                    with f.loop(count) as held:
                        self._block(f, results[0], constants, (n, first + held, held), (vector, part.width))

    def _bands(self, f: Function) -> Iterator[tuple[Expr, Expr, tuple[Expr, Expr] | None]]:
        """Write the loops over bands; yields the first one of those at a time, how many they are, and which blocks."""
        plan = self.plan
        if not (plan.cutting.by_bands and f.shares):
            rounds, blocks = cuts(plan.bands, plan.at_once), sum(part.count for part in plan.blocks)
            for first, part, own in rounds_of_blocks(f, rounds, blocks, f.shares):
                yield first, part.width, own
            return
        low, high = f.share(plan.bands)
        with f.loop(rounds_in(high - low, plan.at_once)) as i:
            first = f.let(low + i * plan.at_once)
            yield first, f.let(smallest(high - first, plan.at_once)), None

    def _change_image(self, f: Function, x: Any, scratch: Any, at: tuple[Expr, Expr], held: Expr) -> None:
        """Change the band of tiles `at` (image, band) as the one that is `held`: each place into a plane of its own."""
        plan, channels, m = self.plan, self.over.channels, self.plan.form.results
        columns, rows = plan.image.band(plan.image.out_width, 1), plan.cutting.band
        with f.loop(rows) as r:
            self.band().write(f, x, scratch, (at[0], (at[1] * rows + r) * m, 0), (m, plan.image.out_width))
            with f.loop(plan.across) as t:
                source = t * (m * channels)
                target = plan.starts[0] + ((held * rows + r) * plan.across + t) * channels

                def tile(c: Expr, keep: Keep) -> None:
                    size = range(plan.form.size)
                    grid = [[scratch[source + (i * columns + j) * channels + c] for j in size] for i in size]
                    _store_planes(f, scratch, target + c, plan.tiles_plane, both(plan.form.image, grid, keep))

                self._each(f, "int16", channels, tile)

    def _change_weights(self, f: Function, constants: Buffers, vector: Expr, vectors: int) -> None:
        """Change the weights of a block of `vectors` from `vector` on."""
        plan, weights, scratch = self.plan, constants["weights"], constants["scratch"]
        size = self.over.channels * vectors * self.dot.lanes
        start = vector * (self.dot.lanes * self.over.channels * 9)

        def change(c: Expr, keep: Keep) -> None:
            grid = [[cast("int16", weights[start + (3 * i + j) * size + c]) for j in range(3)] for i in range(3)]
            _store_planes(f, scratch, plan.starts[1] + c, plan.weights_plane, both(plan.form.filter, grid, keep))

        self._each(f, "int16", size, change)

    def _each(self, f: Function, dtype: str, size: int, body: Callable[[Expr, Keep], None]) -> None:
        """Write `body` for each of some neighbouring elements; it may keep what it computes in registers.

        Unlike names, these are not replaced by their values in simplifications, which would make huge expressions.
        """
        for piece in cuts(size, 2 * self.dot.lanes):
            kept = f.local(dtype, 2 * self.plan.places * piece.width)
            with f.loop(piece.count) as i, f.loop(piece.width, "vector") as lane:
                keep = partial(_kept, f, kept, (place * piece.width + lane for place in count()))
                body(piece.first + i * piece.width + lane, keep)

    def _block(
        self, f: Function, y: Any, constants: Buffers, at: tuple[Expr, Expr, Expr], block: tuple[Expr, int]
    ) -> None:
        """Write the sums of a block (vector, vectors) for the band `at` (image, band, the how manieth that is held).

        The first channel goes through memory too: else compilers load its scales before the sums, and lack registers.
        """
        plan, (vector, vectors) = self.plan, block
        width, rows = vectors * self.dot.lanes, plan.cutting.band
        for tiles in cuts(rows * plan.across, plan.positions):
            with f.loop(tiles.count) as k:
                tile = f.let(tiles.first + k * tiles.width)
                held = f.let(at[2] * (rows * plan.across) + tile)
                made = f.local("int32", plan.places * tiles.width * width + 1)
                f.store(made, plan.places * tiles.width * width, vector * self.dot.lanes)
                with f.loop(plan.places) as place:
                    self._sums(f, constants["scratch"], made, place, held, tiles.width, vectors)
                with f.loop(tiles.width) as p:
                    at_row = at[1] * rows + tirx().truncdiv(tile + p, plan.across)
                    at_column = tirx().truncmod(tile + p, plan.across)
                    corner = at[0], f.let(at_row * plan.form.results), f.let(at_column * plan.form.results)
                    source = partial(_place, made, p * width, tiles.width * width)
                    channel = f.let(made[plan.places * tiles.width * width])
                    self._tile(f, y, constants, source, corner, channel, width)

    def _sums(self, f: Function, scratch: Any, made: Any, place: Expr, tile: Expr, tiles: int, vectors: int) -> None:
        """Write the sums over all channels of one place, for `tiles` tiles in registers."""
        plan, dot = self.plan, self.dot
        every, width = tiles * vectors, dot.group * dot.lanes
        sums = f.local("int32", every * dot.lanes)
        with f.loop(every, "unroll") as i, f.loop(dot.lanes, "vector") as lane:
            f.store(sums, i * dot.lanes + lane, const(0))
        operand = f.let(plan.starts[0] + place * plan.tiles_plane + tile * self.over.channels)
        weight = f.let(plan.starts[1] + place * plan.weights_plane)
        with f.loop(self.over.channels // dot.group) as k:
            loaded = [dot.weights(f, scratch, weight + (k * vectors + v) * width) for v in range(vectors)]
            for p in range(tiles):
                operands = dot.operands(f, scratch, operand + p * self.over.channels + k * dot.group)
                for v, weights in enumerate(loaded):
                    dot.add(f, sums, (p * vectors + v) * dot.lanes, operands, weights)
        with f.loop(every, "unroll") as i, f.loop(dot.lanes, "vector") as lane:
            f.store(made, (place * every + i) * dot.lanes + lane, sums[i * dot.lanes + lane])

    def _tile(
        self, f: Function, y: Any, constants: Buffers, made: Callable[[int, Expr], Expr],
        corner: tuple[Expr, Expr, Expr], first: Expr, channels: int,
    ) -> None:  # fmt: skip
        """Change sums back and store the results of a tile at `corner` (image, row, column) that are in the image.

        `made` gives the sum of a place, and of a channel from `first` on.
        """
        over, form, (n, row, column) = self.over, self.plan.form, corner
        size = range(form.size)

        sums = f.local("int32", form.results**2 * channels)

        def tile(c: Expr, keep: Keep) -> None:
            grid = [[made(i * form.size + j, c) for j in size] for i in size]
            _store_planes(f, sums, c, channels, both(form.result, grid, keep))

        self._each(f, "int32", channels, tile)
        with (
            f.loop(form.results) as i, self._inside(f, row + i, 0), f.loop(form.results) as j,
            self._inside(f, column + j, 1),
        ):  # fmt: skip
            at = f.let((((n * over.out_height + row + i) * over.out_width) + column + j) * over.out_channels + first)
            start = f.let((i * form.results + j) * channels)
            for piece in cuts(channels, 2 * self.dot.lanes):
                with f.loop(piece.count) as k:
                    c = piece.first + k * piece.width
                    with f.loop(piece.width, "vector") as lane:
                        whole = form.whole(sums[start + c + lane])
                        f.store(sums, start + c + lane, plus(whole, constants["bias"][first + c + lane]))
                    self.store(f, sums, y, [Run(start + c, at + c, first + c)], piece.width, constants)

    def _inside(self, f: Function, place: Expr, axis: int) -> AbstractContextManager[None]:
        """Return the condition that a row (axis 0) or column is in the image, where some tiles have it outside."""
        size, whole = ((i.out_height, i.out_width)[axis] for i in (self.over, self.plan.image))
        return f.when(place < size) if size < whole else nullcontext()


def _kept(f: Function, registers: Any, places: Iterator[Expr], value: Expr) -> Expr:
    place = next(places)
    f.store(registers, place, value)
    return registers[place]


def _place(made: Any, start: Expr, step: int, place: int, channel: Expr) -> Expr:
    return made[start + place * step + channel]


def _store_planes(f: Function, scratch: Any, target: Expr, plane: int, grid: Sequence[Sequence[Expr]]) -> None:
    for place, value in enumerate(value for row in grid for value in row):
        f.store(scratch, target + place * plane, value)
