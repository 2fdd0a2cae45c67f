"""Ops that read or write at places that another tensor names at run time; negative ones count from the end.

No place is outside of the tensor, whatever the indices are: those beyond its ends are the first or the last.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from stepdown.dialects.types import shape_of, storage_of
from stepdown.native.halves import laid
from stepdown.native.kernels.base import LOGICAL, Buffers, Kernel, kernel
from stepdown.native.kernels.image import along
from stepdown.native.kernels.spread import shared_one, spread
from stepdown.native.tensors import strides_of
from stepdown.native.tir import Expr, Function, cast, clamp, largest, select, smallest

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """Slices of `inner` neighbouring elements, one for each place of loops over `sizes`.

    By loop, `base` are the elements from one slice to the next in the tensor that indices point into, `named` those in
    the indices, `listed` those in the tensor of the slices. Each of `coordinates` is read from the indices, one after
    the other: how many elements there are, and how far they are apart.
    """

    sizes: Shape
    base: Shape
    named: Shape
    listed: Shape
    coordinates: tuple[tuple[int, int], ...]
    inner: int = 1


def whole_slices(shape: Shape, indices: Shape, axis: int) -> Access:
    """Return where top.Gather reads."""
    outer, size, inner, count = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), prod(indices)
    return Access((outer, count), (size * inner, 0), (0, 1), (count * inner, inner), ((size, inner),), inner)


def single_elements(shape: Shape, indices: Shape, axis: int) -> Access:
    """Return where top.GatherElements reads, and top.ScatterElements writes."""
    base = tuple(0 if at == axis else step for at, step in enumerate(strides_of(shape)))
    return Access(indices, base, strides_of(indices), strides_of(indices), ((shape[axis], strides_of(shape)[axis]),))


def by_rows(shape: Shape, indices: Shape, batch: int) -> Access:
    """Return where top.GatherND reads, and top.ScatterND writes."""
    steps, length = strides_of(shape), indices[-1]
    inner, own = prod(shape[batch + length :]), strides_of(indices[:-1])
    base = tuple(steps[at] if at < batch else 0 for at in range(len(own)))
    found = zip(shape[batch : batch + length], steps[batch : batch + length], strict=True)
    return Access(
        indices[:-1], base, tuple(s * length for s in own), tuple(s * inner for s in own), tuple(found), inner
    )


class Indexed(Kernel):
    """An op whose second operand holds indices; operands may be constants."""

    layout = LOGICAL

    def check(self) -> None:
        """Refuse indices of other types."""
        if storage_of(self.op.operands[1]) not in ("i32", "i64"):
            raise self.refuse("has indices that are neither i32 nor i64")
        self.access = self.places(shape_of(self.op.operands[0]), shape_of(self.op.operands[1]))

    def places(self, shape: Shape, indices: Shape) -> Access:
        """Return where the op reads or writes."""
        raise NotImplementedError

    def constants(self) -> dict[str, np.ndarray]:
        """Return the operands that are constant."""
        sides = zip(self.op.operands, self.weights, strict=True)
        return {f"c{i}": laid(array, storage_of(v)) for i, (v, array) in enumerate(sides) if array is not None}

    def _slices(self, f: Function, indices: Any, shared: bool, body: Callable[[Expr, Expr], None]) -> None:
        """Write `body(place, slice)` for each slice: where it begins in the one tensor, and in the other."""
        access = self.access
        divided = shared_one(access.sizes) if shared else -1
        with ExitStack() as loops:
            counters = [
                loops.enter_context(f.shared(size) if at == divided else f.loop(size))
                for at, size in enumerate(access.sizes)
            ]
            base, named, listed = (
                sum((c * s for c, s in zip(counters, steps, strict=True)), 0 * counters[0] if counters else 0)
                for steps in (access.base, access.named, access.listed)
            )
            for at, (size, step) in enumerate(access.coordinates):
                base = base + _kept(f, indices[named + at], size) * step
            body(f.let(base), f.let(listed) if counters else listed)


def _kept(f: Function, index: Expr, size: int) -> Expr:
    """Return an index as int32, counted from the front, inside of `size` elements."""
    low, high = -size, size - 1
    wide = f.let(index)
    near = f.let(cast("int32", largest(smallest(wide, cast(str(wide.ty), high)), cast(str(wide.ty), low))))
    return f.let(clamp(select(near < 0, near + size, near), 0, high))


class AtElements(Indexed):
    """An element a place of the indices."""

    def places(self, shape: Shape, indices: Shape) -> Access:
        """Return where the op reads or writes."""
        return single_elements(shape, indices, self.op.axis)  # type: ignore[attr-defined]


class AtRows(Indexed):
    """A slice a row of the indices."""

    def places(self, shape: Shape, indices: Shape) -> Access:
        """Return where the op reads or writes."""
        return by_rows(shape, indices, getattr(self.op, "batch_dims", 0))


class Reading(Indexed):
    """Slices of the first operand."""

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Copy each slice."""
        source, indices = self.operands(inputs, constants)
        (y,), lanes = results, self.machine.register_bytes

        def copy(place: Expr, listed: Expr) -> None:
            along(f, self.access.inner, lanes, lambda j: f.store(y, listed + j, source[place + j]))

        self._slices(f, indices, True, copy)


@kernel("Gather")
class Gathering(Reading):
    """Whole slices along a dimension; `moves` has code for indices that are constant."""

    def check(self) -> None:
        """Refuse constant indices."""
        if self.weights[1] is not None:
            raise self.refuse("has constant indices")
        super().check()

    def places(self, shape: Shape, indices: Shape) -> Access:
        """Return where the op reads."""
        return whole_slices(shape, indices, self.op.axis)  # type: ignore[attr-defined]


@kernel("GatherElements")
class ElementGathering(AtElements, Reading):
    """Elements that are read."""


@kernel("GatherND")
class RowGathering(AtRows, Reading):
    """Slices that are read."""


COMBINATIONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": largest,
    "min": smallest,
}
"""By `reduction`, what is stored where an update goes."""


class Writing(Indexed):
    """A copy of the first operand with updates written, one after the other: the last one at a place counts."""

    def check(self) -> None:
        """Refuse what is not combined in its own type."""
        super().check()
        self._reduction: str = self.op.reduction  # type: ignore[attr-defined]
        if self._reduction != "none" and storage_of(self.op.results[0]) not in ("f32", "i32", "i64"):
            raise self.refuse(f"combines other types than f32, i32 and i64 by '{self._reduction}'")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Copy all, then write the updates."""
        source, indices, updates = self.operands(inputs, constants)
        (y,), combine, lanes = results, COMBINATIONS[self._reduction], self.machine.register_bytes
        count = self.results[0].elements
        spread(f, [count], [[1]], lanes, lambda at: f.store(y, at[0], source[at[0]]), shared=False)

        def put(place: Expr, listed: Expr) -> None:
            def one(j: Expr) -> None:
                f.store(y, place + j, combine(y[place + j], updates[listed + j]))

            along(f, self.access.inner, lanes, one)

        self._slices(f, indices, False, put)


@kernel("ScatterElements")
class ElementScattering(AtElements, Writing):
    """Elements that are written."""


@kernel("ScatterND")
class RowScattering(AtRows, Writing):
    """Slices that are written."""
