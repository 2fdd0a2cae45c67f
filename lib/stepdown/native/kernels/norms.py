"""Normalisations of reals: statistics of slices, then each element by them. The formulas are those of the ops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from stepdown.native.kernels import functions as of
from stepdown.native.kernels.base import Buffers, kernel
from stepdown.native.kernels.functions import real
from stepdown.native.kernels.reals import RealKernel, View
from stepdown.native.kernels.slices import Folded, Slice, lying
from stepdown.native.tensors import Order, Tensor, broadcast_steps
from stepdown.native.tir import Expr, Function, select

_F32 = "float32"
_LEAST_DEVIATION = 1e-9
"""What MeanVarianceNorm adds to a standard deviation."""


@dataclass(frozen=True)
class Shape:
    """The dimensions that are gone through, in which order they lie, and which of them are normalised over."""

    sizes: tuple[int, ...]
    order: Order
    axes: set[int]

    @property
    def count(self) -> int:
        """The elements of a slice."""
        return prod(self.sizes[axis] for axis in self.axes)


class Norm(RealKernel):
    """A normalisation: give `axes`, and in `centre` and `factor` what is taken from an element and what it is times."""

    def shape(self) -> Shape:
        """Return what is gone through."""
        (tensor, *_) = self.tensors
        return Shape(tensor.shape, tensor.order, self.axes(len(tensor.shape)))

    def axes(self, rank: int) -> set[int]:
        """Return the dimensions that are normalised over."""
        raise NotImplementedError

    def strides(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the elements from one to the next of a tensor, along what is gone through; 0 where it has one."""
        return broadcast_steps(tensor.shape, tensor.strides, len(self.tensors[0].shape))

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over slices: statistics, then each element."""
        shape = self.shape()
        operands = [o for o in self.given(inputs, constants) if o is not None]
        sides = [self.view(t, b, self.strides(t)) for t, b in [*operands, *zip(self.results, results, strict=True)]]
        field = lying(shape.order, shape.sizes, [side.strides for side in sides], shape.axes)
        for each in field.slices(f, self.machine.lanes):
            self.slice(each, sides[: len(operands)], sides[len(operands) :], shape.count)

    def slice(self, each: Slice, operands: list[View], results: list[View], count: int) -> None:
        """Write the work on some slices."""
        centre = self.centre(each, operands[0], count)
        factor = self.factor(each, lambda at, lane: _less(operands[0][at[0]], centre, lane), count)

        def element(at: list[Expr], lane: Expr) -> None:
            made = _less(operands[0][at[0]], centre, lane) * factor(lane)
            if len(operands) > 1:
                made = made * operands[1][at[1]]
            if len(operands) > 2:
                made = made + operands[2][at[2]]
            each.f.store(results[0].buffer, at[len(operands)], results[0].closed(each.f.once(made)))

        each.each(element)
        told = [s for s in (centre, factor) if s is not None][: len(results) - 1]
        for number, statistic in enumerate(told, 1):
            results[number].tell(each, len(operands) + number, statistic)

    def centre(self, each: Slice, x: View, count: int) -> Folded | None:
        """Return what is taken from each element; None: nothing."""
        total = each.fold(_F32, real(0.0), lambda at, lane: x[at[0]], lambda a, b: a + b)
        return each.kept(_F32, lambda lane: total(lane) / real(count))

    def factor(self, each: Slice, value: Callable[[list[Expr], Expr], Expr], count: int) -> Folded:
        """Return what each element, given as `value`, is multiplied with: 1 / √(mean of squares + epsilon)."""
        epsilon = self.op.epsilon  # type: ignore[attr-defined]
        total = squares(each, value)
        return each.kept(_F32, lambda lane: real(1.0) / root(each, total(lane) / real(count) + real(epsilon)))


def squares(each: Slice, value: Callable[[list[Expr], Expr], Expr]) -> Folded:
    """Write the sum of the squares of some values."""

    def square(at: list[Expr], lane: Expr) -> Expr:
        x = each.f.once(value(at, lane))
        return x * x

    return each.fold(_F32, real(0.0), square, lambda a, b: a + b)


def root(each: Slice, x: Expr) -> Expr:
    """Return √x."""
    return of.sqrt(each.f.once, each.f.once(x))


def _less(x: Expr, centre: Folded | None, lane: Expr) -> Expr:
    return x if centre is None else x - centre(lane)


@kernel("LayerNorm")
class LayerNorm(Norm):
    """Standardised over the trailing dimensions, · scale + bias; statistics are results where asked for."""

    def axes(self, rank: int) -> set[int]:
        """Return the trailing dimensions."""
        return set(self.op.axes_of(rank))  # type: ignore[attr-defined]


@kernel("RMSNorm")
class RootMeanSquareNorm(LayerNorm):
    """x / √(mean of squares + epsilon) over the trailing dimensions, · scale."""

    def centre(self, each: Slice, x: View, count: int) -> Folded | None:
        """Take nothing away."""
        return None


@kernel("MeanVarianceNorm")
class MeanVarianceNorm(Norm):
    """(x − mean) / (standard deviation + 1e-9) over some dimensions."""

    def axes(self, rank: int) -> set[int]:
        """Return the dimensions of the op."""
        return {axis % rank for axis in self.op.axes}  # type: ignore[attr-defined]

    def factor(self, each: Slice, value: Callable[[list[Expr], Expr], Expr], count: int) -> Folded:
        """Return 1 / (√(mean of squares) + 1e-9)."""
        total = squares(each, value)
        least = real(_LEAST_DEVIATION)
        return each.kept(_F32, lambda lane: real(1.0) / (root(each, total(lane) / real(count)) + least))


@kernel("LpNorm")
class PowerNorm(Norm):
    """x / its 1- or 2-norm along a dimension; 0 where that is 0."""

    def axes(self, rank: int) -> set[int]:
        """Return the dimension of the op."""
        return {self.op.axis % rank}  # type: ignore[attr-defined]

    def centre(self, each: Slice, x: View, count: int) -> Folded | None:
        """Take nothing away."""
        return None

    def factor(self, each: Slice, value: Callable[[list[Expr], Expr], Expr], count: int) -> Folded:
        """Return 1 / norm, 1 where the norm is 0."""
        return each.kept(_F32, self._inverse(self._norm(each, value)))

    def _norm(self, each: Slice, value: Callable[[list[Expr], Expr], Expr]) -> Folded:
        if self.op.p == 2:  # type: ignore[attr-defined]
            total = squares(each, value)
            return each.kept(_F32, lambda lane: root(each, total(lane)))
        return each.fold(
            _F32, real(0.0), lambda at, lane: of.magnitude(each.f.once(value(at, lane))), lambda a, b: a + b
        )

    def _inverse(self, norm: Folded) -> Folded:
        return lambda lane: select(norm(lane) > real(0.0), real(1.0) / norm(lane), real(1.0))


@kernel("GroupNorm")
class GroupNorm(Norm):
    """Each group of channels standardised, · scale + bias: gone through as [N, groups, C / groups, *S]."""

    def shape(self) -> Shape:
        """Return the dimensions, channels in two."""
        (tensor, *_), groups = self.tensors, self.op.num_groups  # type: ignore[attr-defined]
        batch, channels, *space = tensor.shape
        order: list[int] = []
        for at in tensor.order:
            order += [1, 2] if at == 1 else [at + (at > 1)]
        axes = set(range(2, len(tensor.shape) + 1))
        return Shape((batch, groups, channels // groups, *space), tuple(order), axes)

    def strides(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the steps of the operand or the result, or those of a value a channel or a group."""
        groups, (_, channels, *space) = self.op.num_groups, self.tensors[0].shape  # type: ignore[attr-defined]
        if tensor.shape == self.tensors[0].shape:
            first, channel, *others = tensor.strides
            return (first, channel * (channels // groups), channel, *others)
        each = (channels // groups, 1) if tensor.shape == (channels,) else (1, 0)
        return (0, *each, *[0] * len(space))
