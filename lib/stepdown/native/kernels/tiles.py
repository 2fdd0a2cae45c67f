"""What is made of one copy of rows at a time, by one thread, or by several that share rows or pixels."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from stepdown.native.kernels.band import Band
from stepdown.native.kernels.image import Image, cuts, rounds_in
from stepdown.native.tir import Expr, Function, smallest


@dataclass(frozen=True)
class Block:
    """How the work is cut: rows and columns of results a copy, positions and vectors of sums in registers."""

    rows: int
    columns: int
    positions: int
    vectors: int


@dataclass(frozen=True)
class Places:
    """Positions of a row: `count` times `width` neighbours from column `first` on; none unless `condition` holds."""

    first: Expr
    count: Expr
    width: int
    condition: Expr | None = None

    def given(self, f: Function) -> AbstractContextManager[None]:
        """Write what follows under the condition."""
        return nullcontext() if self.condition is None else f.when(self.condition)


@dataclass(frozen=True)
class Tile:
    """What is made of one copy: image, first row and column, and its size, rows × columns of results."""

    batch: Expr
    row: Expr
    column: Expr
    rows: Expr
    columns: int
    places: tuple[Places, ...]
    in_pieces: bool = False
    """Whether its columns are counted when it runs."""

    def copy(self, f: Function, band: Band, x: Any, scratch: Any) -> None:
        """Write the copy."""
        if not self.in_pieces:
            band.write(f, x, scratch, (self.batch, self.row, self.column), (self.rows, self.columns))
            return
        for places in self.places:
            with places.given(f), f.loop(places.count) as i:
                column = places.first + i * places.width
                band.pixels(f, x, self.column + column, scratch, column, places.width)


def tiles(f: Function, image: Image, block: Block) -> Iterator[Tile]:
    """Write the loops over tiles for one thread."""
    with f.loop(image.batch) as batch:
        for down in cuts(image.out_height, block.rows):
            with f.loop(down.count) as i:
                for across in cuts(image.out_width, block.columns):
                    with f.loop(across.count) as j:
                        row, column = down.first + i * down.width, across.first + j * across.width
                        places = _places(across.width, block)
                        yield Tile(batch, row, column, down.width, across.width, places)


def shared_tiles(f: Function, image: Image, block: Block) -> Iterator[Tile]:
    """Write the loops over the tiles of one of several threads: each has rows, or pixels of a flat image."""
    if image.is_flat:
        yield from _pixels(f, image, block)
        return
    with f.loop(image.batch) as batch:
        low, high = f.share(image.out_height)
        with f.loop(rounds_in(high - low, block.rows)) as i:
            row = f.let(low + i * block.rows)
            rows = f.let(smallest(high - row, block.rows))
            for across in cuts(image.out_width, block.columns):
                with f.loop(across.count) as j:
                    column = across.first + j * across.width
                    yield Tile(batch, row, column, rows, across.width, _places(across.width, block))


def units(image: Image, block: Block) -> int:
    """Return what `shared_tiles` divides: rows, or blocks of pixels."""
    return -(-image.out_width // block.positions) if image.is_flat else image.out_height


def unevenness(count: int) -> float:
    """Return how much longer the longer share of so many things is than half of them, where two threads share them."""
    return -(-count // 2) * 2 / count


def _pixels(f: Function, image: Image, block: Block) -> Iterator[Tile]:
    """Write the loop over the tiles of a thread's pixels: blocks of positions, of which the last may be smaller."""
    width, whole = block.positions, image.out_width // block.positions
    rest, a_tile = image.out_width - whole * width, -(-block.columns // width)
    low, high = f.share(whole + (rest > 0))
    with f.loop(rounds_in(high - low, a_tile)) as i:
        first = f.let(low + i * a_tile)
        end = f.let(smallest(high, first + a_tile))
        count = f.let(smallest(end, whole) - first)
        places = [Places(0, count, width)]
        if rest:
            places.append(Places(count * width, 1, rest, end > whole))
        yield Tile(0, 0, first * width, 1, a_tile * width, tuple(places), in_pieces=True)


def _places(columns: int, block: Block) -> tuple[Places, ...]:
    return tuple(Places(cut.first, cut.count, cut.width) for cut in cuts(columns, block.positions))
