"""Distributions along dimensions, and the places of extreme elements, in vectors along a slice or across slices."""

import math
from collections.abc import Sequence
from typing import Any

from stepdown.dialects.types import storage_of
from stepdown.native.halves import REALS
from stepdown.native.kernels import functions as of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import real
from stepdown.native.kernels.real_reduce import WIDE_INTEGERS, kept_strides, powers, start_of
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.reduce import remaining
from stepdown.native.kernels.slices import Folded, Slice, lying
from stepdown.native.tensors import Order
from stepdown.native.tir import Expr, Function, cast, const, largest, select, smallest


class Distribution(RealKernel):
    """An op along `axis`, with `flat` along all later dimensions, too: give `slice`."""

    types: tuple[str, ...] = REALS

    def check(self) -> None:
        """Refuse other types."""
        if any(storage_of(v) not in self.types for v in (*self.op.operands, *self.op.results)):
            raise self.is_not_of(f"{', '.join(self.types)}")

    def axes(self) -> set[int]:
        """Return the dimensions of a slice."""
        op: Any = self.op
        rank = len(self.tensors[0].shape)
        return set(range(op.axis % rank, rank)) if op.flat else {op.axis % rank}

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices."""
        (tensor,), axes = self.tensors, self.axes()
        x, y = self.views(inputs, results)
        numbers = numbers_along(tensor.shape, axes)
        for each in lying(tensor.order, tensor.shape, [x.strides, y.strides, numbers], axes).slices(
            f, self.machine.lanes
        ):
            self.slice(each, x, y)

    def slice(self, each: Slice, x: View, y: View) -> None:
        """Write the work on some slices; the third place of an element is its number in the slice."""
        raise NotImplementedError


def numbers_along(shape: Sequence[int], axes: set[int]) -> tuple[int, ...]:
    """Return the steps of the number that an element has in its slice."""
    return tuple(math.prod(shape[b] for b in axes if b > at) if at in axes else 0 for at in range(len(shape)))


@kernel("Softmax")
class Softmax(Distribution):
    """e^(x − max) / Σ, in f32; f16 and bf16 are in `half_fold`."""

    types = ("f32",)

    def slice(self, each: Slice, x: View, y: View) -> None:
        """Write the powers and their sum, and the quotients."""
        f = each.f
        _, total = powers(each, x, lambda at, power: f.store(y.buffer, at[1], power))
        inverse = each.kept("float32", lambda lane: real(1.0) / total(lane))
        each.each(lambda at, lane: f.store(y.buffer, at[1], y[at[1]] * inverse(lane)))


@kernel("LogSoftmax")
class LogSoftmax(Distribution):
    """x − max − ln Σ e^(x − max)."""

    def slice(self, each: Slice, x: View, y: View) -> None:
        """Write the logarithm of the sum, and the differences."""
        let = each.f.once
        top, total = powers(each, x)
        logarithm = each.kept("float32", lambda lane: of.log(let, let(total(lane))))

        def element(at: list[Expr], lane: Expr) -> None:
            each.f.store(y.buffer, at[1], y.closed(let(x[at[0]] - top(lane) - logarithm(lane))))

        each.each(element)


def place_of(each: Slice, x: View, dtype: str, is_max: bool, last: bool, count: int) -> Folded:
    """Return the number of the first, or last, extreme element of each slice."""
    let = each.f.once
    start = start_of(-math.inf if is_max else math.inf, dtype)
    top = each.fold(dtype, start, lambda at, lane: let(x[at[0]]), largest if is_max else smallest)
    none = const(-1 if last else count)

    def number(at: list[Expr], lane: Expr) -> Expr:
        return select(let(x[at[0]]).equal(top(lane)), at[2], none)

    found = each.fold("int32", none, number, largest if last else smallest)
    return each.kept("int32", lambda lane: smallest(largest(found(lane), const(0)), const(count - 1)))


@kernel("Hardmax")
class Hardmax(Distribution):
    """1 at the first largest element, 0 elsewhere."""

    def slice(self, each: Slice, x: View, y: View) -> None:
        """Write the place, and what is there."""
        count = math.prod(self.tensors[0].shape[at] for at in self.axes())
        place = place_of(each, x, "float32", True, False, count)

        def element(at: list[Expr], lane: Expr) -> None:
            hit = select(at[2].equal(place(lane)), real(1.0), real(0.0))
            each.f.store(y.buffer, at[1], y.closed(each.f.once(hit)))

        each.each(element)


@kernel("ArgMax", "ArgMin")
class ExtremePlace(Distribution):
    """The place of the largest, or smallest, element along a dimension."""

    types = (*REALS, "i8", "u8", *WIDE_INTEGERS)

    def axes(self) -> set[int]:
        """Return the dimension."""
        return {self.op.axis % len(self.tensors[0].shape)}  # type: ignore[attr-defined]

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Take the operand as it lies; the dimensions of the result stay in their order."""
        (order,) = orders
        axis = self.op.axis % len(order)  # type: ignore[attr-defined]
        return [order], [remaining(order, {axis}, len(self.op.results[0].type.get_shape()))]  # type: ignore[attr-defined]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices."""
        (tensor,), (result,), axes = self.tensors, self.results, self.axes()
        x, y = self.view(tensor, inputs[0]), self.view(result, results[0], kept_strides(tensor, result, axes))
        field = lying(tensor.order, tensor.shape, [x.strides, y.strides, numbers_along(tensor.shape, axes)], axes)
        op: Any = self.op
        is_max, (axis,) = type(op).__name__ == "ArgMax", axes
        for each in field.slices(f, self.machine.lanes):
            place = place_of(each, x, self.computed(tensor), is_max, op.select_last_index, tensor.shape[axis])
            self._tell(each, y, place)

    def _tell(self, each: Slice, y: View, place: Folded) -> None:
        """Store the places."""
        each.once(lambda at, lane: each.f.store(y.buffer, at[1], cast("int64", place(lane))))
