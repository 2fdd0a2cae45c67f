"""Reductions of reals and of plain integers, in vectors along what is folded or across it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from stepdown.dialects.types import quant_of, shape_of, storage_of
from stepdown.native.halves import REALS
from stepdown.native.kernels import functions as of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import Let, real
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.reduce import folded_axes, remaining
from stepdown.native.kernels.slices import Folded, Slice, lying
from stepdown.native.tensors import Order, Tensor
from stepdown.native.tir import Expr, Function, const, largest, select, smallest

WIDE_INTEGERS = ("i32", "i64")
"""The integers that are folded in their own type."""


@dataclass(frozen=True)
class Fold:
    """What is folded of each element, from which number on, by what, and what is stored of the fold."""

    value: Callable[[Expr], Expr]
    start: float
    combine: Callable[[Expr, Expr], Expr]
    result: Callable[[Let, Expr, int], Expr] = lambda let, total, count: total
    types: tuple[str, ...] = ("f32",)


def _sum(a: Expr, b: Expr) -> Expr:
    return a + b


def _magnitude(x: Expr) -> Expr:
    return select(x < 0, 0 - x, x)


FOLDS = {
    "ReduceSum": Fold(lambda x: x, 0, _sum, types=("f32", *WIDE_INTEGERS)),
    "ReduceMean": Fold(lambda x: x, 0, _sum, lambda let, total, count: total / real(count)),
    "ReduceMax": Fold(lambda x: x, -math.inf, largest, types=("f32", *WIDE_INTEGERS)),
    "ReduceMin": Fold(lambda x: x, math.inf, smallest, types=("f32", *WIDE_INTEGERS)),
    "ReduceProd": Fold(lambda x: x, 1, lambda a, b: a * b, types=(*REALS, *WIDE_INTEGERS)),
    "ReduceL1": Fold(_magnitude, 0, _sum, types=(*REALS, *WIDE_INTEGERS)),
    "ReduceL2": Fold(lambda x: x * x, 0, _sum, lambda let, total, count: of.sqrt(let, total), REALS),
    "ReduceSumSquare": Fold(lambda x: x * x, 0, _sum, types=(*REALS, *WIDE_INTEGERS)),
    "ReduceLogSum": Fold(lambda x: x, 0, _sum, lambda let, total, count: of.log(let, total), REALS),
}
"""By op. Sums, means and extremes of f16 and bf16 are in `half_fold`, those of quantised integers in `reduce`."""


class Reducing(RealKernel):
    """A reduction: give `folded`."""

    def check(self) -> None:
        """Refuse other types, and what has no elements."""
        (value,) = self.op.operands
        if quant_of(value) or storage_of(value) not in self.types():
            raise self.is_not_of(f"{', '.join(self.types())}")
        shape, self.axes = shape_of(value), folded_axes(self.op)
        self.count = prod(shape[axis] for axis in self.axes)
        if not prod(shape):
            raise self.refuse("has no elements")

    def types(self) -> tuple[str, ...]:
        """Return the types that have code."""
        return REALS

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Take the operand as it lies; the dimensions of the result stay in their order."""
        (order,) = orders
        return [order], [remaining(order, self.axes, len(shape_of(self.op.results[0])))]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices, the fold of each, and what is stored of it."""
        (tensor,), (result,) = self.tensors, self.results
        x, y = self.view(tensor, inputs[0]), self.view(result, results[0], kept_strides(tensor, result, self.axes))
        field = lying(tensor.order, tensor.shape, [x.strides, y.strides], self.axes)
        for each in field.slices(f, self.machine.lanes):
            y.tell(each, 1, self.folded(each, x))

    def folded(self, each: Slice, x: View) -> Folded:
        """Return what is stored of each slice."""
        raise NotImplementedError


def kept_strides(tensor: Tensor, result: Tensor, folded: set[int]) -> tuple[int, ...]:
    """Return the steps of a result along the dimensions of its operand: 0 along those that are folded."""
    rank = len(tensor.shape)
    own = iter(result.strides)
    if len(result.shape) == rank:
        return tuple(0 if at in folded else step for at, step in enumerate(own))
    return tuple(0 if at in folded else next(own) for at in range(rank))


@kernel(*FOLDS)
class Reduction(Reducing):
    """A row of FOLDS."""

    def types(self) -> tuple[str, ...]:
        """Return the types of the row."""
        self._fold = FOLDS[type(self.op).__name__]
        return self._fold.types

    def folded(self, each: Slice, x: View) -> Folded:
        """Return the fold, and what is stored of it."""
        fold, dtype, let = self._fold, self.computed(self.tensors[0]), each.f.once
        total = each.fold(dtype, start_of(fold.start, dtype), lambda at, lane: fold.value(let(x[at[0]])), fold.combine)
        return lambda lane: fold.result(let, total(lane), self.count)


def start_of(value: float, dtype: str) -> Expr:
    """Return the fold of nothing in a type."""
    if dtype == "float32" or math.isfinite(value):
        return const(value if dtype == "float32" else int(value), dtype)
    bounds = np.iinfo(dtype)
    return const(int(bounds.min if value < 0 else bounds.max), dtype)


@kernel("ReduceLogSumExp")
class LogarithmOfPowers(Reducing):
    """The largest x + ln Σ e^(x − largest)."""

    def folded(self, each: Slice, x: View) -> Folded:
        """Return the logarithm."""
        top, total = powers(each, x)
        return lambda lane: top(lane) + of.log(each.f.once, each.f.once(total(lane)))


def powers(
    each: Slice, x: View, also: Callable[[list[Expr], Expr], None] = lambda at, power: None
) -> tuple[Folded, Folded]:
    """Write the largest element of each slice, 0 where that is no number, and Σ e^(x − largest).

    `also` is given the places of each element and its power.
    """
    let = each.f.once
    first = each.fold("float32", real(-math.inf), lambda at, lane: let(x[at[0]]), largest)
    top = each.kept("float32", lambda lane: _finite(let(first(lane))))

    def power(at: list[Expr], lane: Expr) -> Expr:
        made = let(of.exp(let, let(x[at[0]] - top(lane))))
        also(at, made)
        return made

    return top, each.fold("float32", real(0.0), power, _sum, vectors=2)


def _finite(x: Expr) -> Expr:
    return select((x > real(-math.inf)) & (x < real(math.inf)), x, real(0.0))
