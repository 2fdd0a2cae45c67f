"""Running sums and products, and the largest elements of slices in order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stepdown.dialects.types import storage_of
from stepdown.native.halves import REALS
from stepdown.native.kernels.base import LOGICAL, Buffers, kernel
from stepdown.native.kernels.real_reduce import WIDE_INTEGERS
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.slices import Field, Slice, lying
from stepdown.native.tir import Expr, Function, cast, const

_STARTS: dict[str, tuple[int, Callable[[Expr, Expr], Expr]]] = {
    "CumSum": (0, lambda a, b: a + b),
    "CumProd": (1, lambda a, b: a * b),
}
"""By op, the fold of nothing, and how one more element is taken."""


@kernel(*_STARTS)
class Cumulative(RealKernel):
    """Running folds along a dimension; lanes are neighbouring slices."""

    def check(self) -> None:
        """Refuse other types."""
        if storage_of(self.op.operands[0]) not in (*REALS, *WIDE_INTEGERS):
            raise self.is_not_of("reals or plain integers")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices, each from its beginning, or its end."""
        (tensor,), op = self.tensors, self.op
        axis = op.axis % len(tensor.shape)  # type: ignore[attr-defined]
        x, y = self.views(inputs, results)
        field = lying(tensor.order, tensor.shape, [x.strides, y.strides], {axis})
        if op.reverse:  # type: ignore[attr-defined]
            field = _reversed(field)
        lanes = 1 if field.is_along else self.machine.lanes
        for each in field.slices(f, lanes):
            self._slice(each, x, y, self.computed(tensor))

    def _slice(self, each: Slice, x: View, y: View, dtype: str) -> None:
        """Write the work on some slices."""
        f, (start, combine) = each.f, _STARTS[type(self.op).__name__]
        total = each.local(dtype, const(start, dtype))

        def element(at: list[Expr], lane: Expr) -> None:
            before = f.once(total[lane])
            f.store(total, lane, combine(before, x[at[0]]))
            kept = before if self.op.exclusive else total[lane]  # type: ignore[attr-defined]
            f.store(y.buffer, at[1], y.closed(kept))

        each.each(element)


def _reversed(field: Field) -> Field:
    """Return the same slices, gone through from their ends."""
    inner = [d for d in field.dimensions if d.inner]
    starts = [sum((d.size - 1) * d.steps[i] for d in inner) for i in range(len(field.starts))]
    turned = [replace(d, steps=tuple(-s for s in d.steps)) if d.inner else d for d in field.dimensions]
    return Field(tuple(turned), tuple(starts))


@kernel("TopK")
class Largest(RealKernel):
    """The k largest, or smallest, elements of each slice: each is put where it belongs among those found before it."""

    layout = LOGICAL

    def check(self) -> None:
        """Refuse other types, and no elements."""
        if storage_of(self.op.operands[0]) not in (*REALS, *WIDE_INTEGERS, "i8", "u8"):
            raise self.is_not_of("reals or integers")
        if not self.op.k:  # type: ignore[attr-defined]
            raise self.refuse("gives no elements")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices: the first k elements, then those that are beyond the last one of them."""
        (tensor,), op = self.tensors, self.op
        count, k = tensor.shape[op.axis], op.k  # type: ignore[attr-defined]
        views = self.views(inputs, results)
        steps = [view.strides[op.axis] for view in views]  # type: ignore[attr-defined]
        axes = {op.axis}  # type: ignore[attr-defined]
        for each in lying(tensor.order, tensor.shape, [v.strides for v in views], axes).slices(f, 1, 1):
            found = _Found(f, views, each.at, steps, k, op.largest)  # type: ignore[attr-defined]
            with f.loop(k) as i:
                found.put(i, i)
            with f.loop(count - k) as i, f.when(found.beats(k + i, k - 1)):
                found.put(k + i, k)


class _Found:
    """The elements of a slice that were found, in order: values and their numbers."""

    def __init__(
        self, f: Function, views: Sequence[View], at: Sequence[Expr], steps: Sequence[int], k: int, largest: bool
    ) -> None:
        self._f, self._views, self._at, self._steps = f, views, at, steps
        self._k, self._is_largest = k, largest

    def _place(self, side: int, number: Expr) -> Expr:
        return self._at[side] + number * self._steps[side]

    def beats(self, number: Expr, place: Expr) -> Expr:
        """Tell whether an element of the operand comes before the one that was found at a place."""
        mine, other = self._views[0][self._place(0, number)], self._views[1][self._place(1, place)]
        return mine > other if self._is_largest else mine < other

    def put(self, number: Expr, filled: Expr) -> None:
        """Write how an element takes its place, given how many places are filled; what is behind it moves on."""
        f = self._f
        with f.loop(self._k) as i:
            place = self._k - 1 - i
            with f.when((place >= filled) | self.beats(number, place)):
                with f.when(place + 1 < self._k):
                    for side in (1, 2):
                        buffer = self._views[side].buffer
                        f.store(buffer, self._place(side, place + 1), buffer[self._place(side, place)])
                f.store(self._views[1].buffer, self._place(1, place), self._views[0].buffer[self._place(0, number)])
                f.store(self._views[2].buffer, self._place(2, place), cast("int64", number))
