"""Slices of tensors, the elements that differ in some dimensions alone: folded and gone through in vectors.

Where the innermost dimension is one of the slice, lanes are elements of it, and a fold ends with one over the lanes;
else lanes are neighbouring slices.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from stepdown.native.kernels.image import along, counted, cuts, rounds
from stepdown.native.kernels.spread import shared_one
from stepdown.native.tir import Expr, Function, const

Places = list[Expr]
"""An index of each tensor."""
Value = Callable[[Places, Expr], Expr]
"""An expression of the places of an element, and of the lane in which what belongs to its slice is."""
Folded = Callable[[Expr], Expr]
"""The fold of the slice in a lane."""

_VECTORS = 4


@dataclass(frozen=True)
class Dimension:
    """A loop: its rounds, the elements from one to the next of each tensor, and whether it is within a slice."""

    size: int
    steps: tuple[int, ...]
    inner: bool


def lying(order: Sequence[int], shape: Sequence[int], strides: Sequence[Sequence[int]], axes: set[int]) -> "Field":
    """Return tensors cut into slices along `axes`: their dimensions from the outside in, joined where they can be."""
    joined: list[Dimension] = []
    for at in order:
        made = Dimension(shape[at], tuple(each[at] for each in strides), at in axes)
        if made.size == 1:
            continue
        last = joined[-1] if joined else None
        spans = tuple(step * made.size for step in made.steps)
        if last and (last.inner, last.steps) == (made.inner, spans):
            joined[-1] = Dimension(last.size * made.size, made.steps, made.inner)
        else:
            joined.append(made)
    return Field(tuple(joined), (0,) * len(strides))


@dataclass(frozen=True)
class Field:
    """The dimensions of some tensors, from the outside in, and the places of the first elements."""

    dimensions: tuple[Dimension, ...]
    starts: tuple[int, ...]

    @property
    def is_along(self) -> bool:
        """Whether lanes are elements of one slice."""
        return bool(self.dimensions) and self.dimensions[-1].inner

    def slices(self, f: Function, lanes: int, vectors: int = _VECTORS) -> Iterator["Slice"]:
        """Write the loops over slices, which threads share, and give one, or as many neighbours as lanes."""
        outer = [d for d in self.dimensions if not d.inner]
        inner = tuple(d for d in self.dimensions if d.inner)
        if self.is_along or not outer:
            shared = shared_one([d.size for d in outer])
            with _loops(f, outer, list(self.starts), shared) as at:
                yield Slice(f, at, (0,) * len(at), 1, inner, lanes)
            return
        last, parts = outer[-1], cuts(outer[-1].size, vectors * lanes)
        shared = shared_one([*(d.size for d in outer[:-1]), sum(part.count for part in parts)])
        with _loops(f, outer[:-1], list(self.starts), shared) as at:
            for before, part in counted(parts):
                with rounds(f, part.count, before, parts, shared == len(outer) - 1) as i:
                    first = i * part.width + part.first
                    begin = [a + first * step for a, step in zip(at, last.steps, strict=True)]
                    yield Slice(f, begin, last.steps, part.width, inner, lanes)


@dataclass(frozen=True)
class Slice:
    """Slices that are worked on at a time: one, or `width` neighbours, `steps` apart."""

    f: Function
    at: Places
    steps: tuple[int, ...]
    width: int
    inner: tuple[Dimension, ...]
    lanes: int

    @property
    def _is_along(self) -> bool:
        return self.width == 1 and bool(self.inner) and self.lanes > 1

    def local(self, dtype: str, value: Expr) -> Any:
        """Return memory for a number of each slice that holds a value."""
        made = self.f.local(dtype, self.width)
        with self.f.loop(self.width, "vector") as lane:
            self.f.store(made, lane, value)
        return made

    def fold(
        self, dtype: str, start: Expr, value: Value, combine: Callable[[Expr, Expr], Expr], vectors: int = _VECTORS
    ) -> Folded:
        """Write a fold of what `value` is of each element; `start` changes nothing that is combined with it."""
        if self._is_along:
            total = self._fold_along(dtype, start, value, combine, vectors)
            return lambda lane: total
        totals = self.local(dtype, start)

        def add(at: Places, lane: Expr) -> None:
            self.f.store(totals, lane, combine(totals[lane], value(at, lane)))

        self.each(add)
        return lambda lane: totals[lane]

    def _fold_along(
        self, dtype: str, start: Expr, value: Value, combine: Callable[[Expr, Expr], Expr], vectors: int
    ) -> Expr:
        """Write a fold of one slice: of each lane, then of the lanes by halves."""
        f, last = self.f, self.inner[-1]
        width = min(vectors * self.lanes, 1 << (last.size.bit_length() - 1))
        totals = f.local(dtype, width)
        with f.loop(width, "vector") as lane:
            f.store(totals, lane, start)
        with _loops(f, self.inner[:-1], self.at) as at:
            for part in cuts(last.size, width):
                with f.loop(part.count) as i, f.loop(part.width, "vector") as lane:
                    place = _moved(at, last.steps, i * part.width + part.first + lane)
                    f.store(totals, lane, combine(totals[lane], value(place, const(0))))
        while width > 1:
            width //= 2
            with f.loop(width, "vector") as lane:
                f.store(totals, lane, combine(totals[lane], totals[lane + width]))
        return f.let(totals[0])

    def each(self, body: Callable[[Places, Expr], None]) -> None:
        """Write `body` for each element, in the order of the slice where lanes are slices."""
        f = self.f
        if self._is_along:
            last = self.inner[-1]
            with _loops(f, self.inner[:-1], self.at) as at:
                along(f, last.size, 2 * self.lanes, lambda i: body(_moved(at, last.steps, i), const(0)))
            return
        with _loops(f, self.inner, self.at) as at, f.loop(self.width, "vector") as lane:
            body(_moved(at, self.steps, lane), lane)

    def once(self, body: Callable[[Places, Expr], None]) -> None:
        """Write `body` for each slice, with the places of its first element."""
        with self.f.loop(self.width, "vector") as lane:
            body(_moved(self.at, self.steps, lane), lane)

    def kept(self, dtype: str, value: Callable[[Expr], Expr]) -> Folded:
        """Write a number of each slice once, and return it."""
        if self.width == 1:
            once = self.f.once(value(const(0)))
            return lambda lane: once
        made = self.f.local(dtype, self.width)
        with self.f.loop(self.width, "vector") as lane:
            self.f.store(made, lane, value(lane))
        return lambda lane: made[lane]


def _moved(at: Places, steps: Sequence[int], rounds: Expr) -> Places:
    return [a + rounds * step for a, step in zip(at, steps, strict=True)]


@contextmanager
def _loops(f: Function, dimensions: Sequence[Dimension], at: Places, shared: int = -1) -> Iterator[Places]:
    """Write loops around what follows, one of which threads may share; yields the places within them."""
    with ExitStack() as loops:
        for number, dimension in enumerate(dimensions):
            i = loops.enter_context(f.shared(dimension.size) if number == shared else f.loop(dimension.size))
            at = _moved(at, dimension.steps, i)
        yield at
