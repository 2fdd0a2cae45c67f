"""What a window slides over, and how the work on it is cut."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

from stepdown.native.tir import Expr, Function, largest, smallest, tirx

_LEAST_LANES = 4
"""Of a vector for the rest of some channels."""


@dataclass(frozen=True)
class Image:
    """x[N, H, W, C], windows of it, y[N, OH, OW, O]; pads are those above and to the left."""

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    group: int = 1
    spread: tuple[int, int] = (1, 1)
    """Pixels are so many rows and columns apart, with zeros between them; height and width count these too."""

    @property
    def text(self) -> str:
        """All its numbers: of sizes, windows, steps and groups."""
        numbers = [getattr(self, field.name) for field in fields(self)]
        return " ".join("x".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in numbers)

    @property
    def is_pointwise(self) -> bool:
        """Whether its windows are its pixels, each once."""
        same = (self.height, self.width) == (self.out_height, self.out_width)
        return same and self.kernel == self.strides == self.spread == (1, 1) and self.pads == (0, 0)

    def flattened(self) -> "Image":
        """Return an image whose windows are its pixels as one row; another one as it is."""
        if not self.is_pointwise:
            return self
        pixels = self.batch * self.height * self.width
        return replace(self, batch=1, height=1, width=pixels, out_height=1, out_width=pixels)

    def in_rows(self) -> "Image":
        """Return images whose windows are their pixels as one row each; another one as it is."""
        if not self.is_pointwise:
            return self
        pixels = self.height * self.width
        return replace(self, height=1, width=pixels, out_height=1, out_width=pixels)

    @property
    def is_flat(self) -> bool:
        """Whether it is one row whose windows are its pixels, which may be cut anywhere."""
        return self.is_pointwise and self.batch == self.height == 1

    @property
    def steps(self) -> tuple[int, int]:
        """Rows and columns from one that is copied to the next: those that no window meets are left out."""
        down, across = (s if k == 1 else 1 for s, k in zip(self.strides, self.kernel, strict=True))
        return down, across

    @property
    def moves(self) -> tuple[int, int]:
        """Copied rows and columns from one window to the next."""
        return self.strides[0] // self.steps[0], self.strides[1] // self.steps[1]

    def band(self, results: Any, axis: int) -> Any:
        """Return how many copied rows (axis 0) or columns (axis 1) so many results need."""
        return (results - 1) * self.moves[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.group == self.channels == self.out_channels > 1

    @property
    def run(self) -> int:
        """Operands that lie in a row, over which a sum goes without a jump: a row of the window, or its channels."""
        depth = self.channels // self.group
        return depth * self.kernel[1] if self.group == self.dilations[1] == 1 else depth

    def leaves(self, axis: int) -> bool:
        """Tell whether windows reach above or below the image (axis 0), or left or right of it."""
        size, out = ((self.height, self.out_height), (self.width, self.out_width))[axis]
        last = (out - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] - self.pads[axis]
        return self.pads[axis] > 0 or last >= size

    def within(self, f: Function, place: Expr, axis: int, body: Callable[[], None]) -> None:
        """Write what `body` writes, under the condition that a row (axis 0) or column is in the image."""
        if not self.leaves(axis):
            body()
            return
        with f.when((place >= 0) & (place < (self.height, self.width)[axis])):
            body()


@dataclass(frozen=True)
class Phases:
    """How the columns of a row lie in its copy: `phases[i]` is the rest of those in line i, `length` elements each."""

    phases: tuple[int, ...]
    length: int

    def at(self, column: int, stride: int) -> int:
        """Return where the column lies that the first result reads at `column`."""
        return self.phases.index(column % stride) * self.length + column // stride


@dataclass(frozen=True)
class Cut:
    """Rounds of a loop that are alike: `count` of them, `width` each, from `first` on."""

    first: int
    count: int
    width: int

    @property
    def end(self) -> int:
        """Where the last round ends."""
        return self.first + self.count * self.width


def cuts(size: int, step: int) -> list[Cut]:
    """Return the whole steps, and the rest."""
    whole, rest = divmod(size, step)
    parts = [Cut(0, whole, step)] if whole else []
    return parts + ([Cut(whole * step, 1, rest)] if rest else [])


@dataclass(frozen=True)
class Strip:
    """Channels that are summed at a time: a vector of `lanes`, of which `used` are stored; `count` of them."""

    first: int
    count: int
    lanes: int
    used: int

    @property
    def end(self) -> int:
        """Where the last vector ends."""
        return self.first + self.count * self.lanes


def strips(channels: int, lanes: int) -> list[Strip]:
    """Return strips of whole vectors, and the rest in a narrower one."""
    whole, rest = divmod(channels, lanes)
    found = [Strip(0, whole, lanes, lanes)] if whole else []
    if rest:
        narrow = min(lanes, max(_LEAST_LANES, 1 << (rest - 1).bit_length()))
        found.append(Strip(whole * lanes, 1, narrow, rest))
    return found


def counted(parts: list[Cut]) -> list[tuple[int, Cut]]:
    """Return each with the number of rounds before it."""
    return [(sum(p.count for p in parts[:at]), part) for at, part in enumerate(parts)]


def rounds(f: Function, count: int, before: int, parts: list[Cut], shared: bool) -> AbstractContextManager[Expr]:
    """Write a loop over the rounds of one of `parts`; where `shared`, threads share those of all."""
    return f.shared(count, before, sum(p.count for p in parts)) if shared else f.loop(count)


def rounds_in(extent: Expr, step: int) -> Expr:
    """Return how many steps there are to the end, not below 0."""
    return tirx().truncdiv(largest(extent, 0) + (step - 1), step)


def rounds_of_blocks(
    f: Function, parts: list[Cut], blocks: int, shared: bool
) -> Iterator[tuple[Expr, Cut, tuple[Expr, Expr] | None]]:
    """Write the loops over the rounds of all `parts`; give what each begins with, its part, and which blocks to do.

    Where `shared`, threads share the blocks of all rounds, a row of `blocks` for each round: so a thread has whole
    rounds where there are enough, and else some blocks of one. Rounds without blocks of its own are left out.
    """
    low, high = f.share(blocks * sum(part.count for part in parts)) if shared else (0, 0)
    for before, part in counted(parts):
        with f.loop(part.count) as i:
            first = f.let(part.first + i * part.width)
            if not shared:
                yield first, part, None
                continue
            begin, end = (f.let(kept(at - (before + i) * blocks, 0, blocks)) for at in (low, high))
            with f.when(begin < end):
                yield first, part, (begin, end)


def blocks_of(f: Function, parts: list[Cut], own: tuple[Expr, Expr] | None) -> Iterator[tuple[Expr, Cut]]:
    """Write the loops over the rounds of all `parts`, or over those of its `own`; give what each begins with."""
    for before, part in counted(parts):
        ends = [f.let(kept(end - before, 0, part.count)) for end in own] if own else []
        with f.between(*ends) if own else f.loop(part.count) as i:
            yield f.let(part.first + i * part.width), part


def kept(value: Expr, low: int, high: int) -> Expr:
    """Return a value kept between two constants; a number where it is one."""
    return min(max(value, low), high) if isinstance(value, int) else smallest(largest(value, low), high)


def last_apart(parts: list[Cut]) -> list[Cut]:
    """Return the same rounds with the very last one by itself."""
    end = parts[-1]
    if end.count == 1:
        return parts
    split = [Cut(end.first, end.count - 1, end.width), Cut(end.end - end.width, 1, end.width)]
    return [*parts[:-1], *split]


def powers(length: int, lanes: int) -> list[tuple[int, int, int]]:
    """Return (first, count, lanes) of vectors over a length: as wide as asked for, the rest in powers of two."""
    made, first = [], 0
    while first < length:
        count = (length - first) // lanes
        if count:
            made.append((first, count, lanes))
            first += count * lanes
        lanes //= 2
    return made


def along(f: Function, length: int, lanes: int, body: Callable[[Expr], None], shared: bool = False) -> None:
    """Write `body(i)` for i below `length`: in vectors, and the rest at once; threads may share the rounds."""
    whole, rest = divmod(length, lanes)
    if shared:
        _along_shared(f, whole, rest, lanes, body)
        return
    if whole:
        with f.loop(whole) as i, f.loop(lanes, "vector") as j:
            body(i * lanes + j)
    if rest:
        with f.loop(rest, "vector") as j:
            body(j + whole * lanes)


def _along_shared(f: Function, whole: int, rest: int, lanes: int, body: Callable[[Expr], None]) -> None:
    rounds = whole + (rest > 0)
    for first, count, width in ((0, whole, lanes), (whole, int(rest > 0), rest)):
        if count:
            with f.shared(count, first, rounds) as i, f.loop(width, "vector") as j:
                body((i + first) * lanes + j)
