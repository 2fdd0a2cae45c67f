"""Ops that make each element of the result from the elements of the operands at the same place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.tpu.base import TpuOp
from stepdown.dialects.types import quant_of, shape_of
from stepdown.native.fixed_sums import FixedSum, fixed_sum
from stepdown.native.kernels.base import SAME, Buffers, Kernel, kernel, tensor_of
from stepdown.native.kernels.spread import spread
from stepdown.native.rescaling import Output, Scale
from stepdown.native.tensors import Tensor, broadcast_steps, logical
from stepdown.native.tir import Expr, Function, cast, const, largest, smallest
from stepdown.numerics.quantize import QuantParams
from stepdown.numerics.rescale import ELTWISE_LEFT_SHIFT

_EIGHT_BITS = 256
"""How many integers such a type has."""


class Elementwise(Kernel):
    """A kernel that gives `element`: the result from the operands, which broadcast; constants are operands too."""

    layout = SAME
    once: Callable[[Expr], Expr]
    """Names what is computed while code is written (`Function.once`)."""

    def begin(self, f: Function) -> None:
        """Note how what is computed is named."""
        self.once = f.once

    @property
    def sides(self) -> list[SSAValue]:
        """The operands that are tensors like the result."""
        return list(self.op.operands)

    def constants(self) -> dict[str, np.ndarray]:
        """Return the constant sides."""
        held = {f"c{i}": self.weights[i] for i, _ in enumerate(self.sides)}
        return {name: array for name, array in held.items() if array is not None}

    def viewed(self, index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that broadcasts in place of an operand's own."""
        return shape

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return an element of the result."""
        raise NotImplementedError

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops."""
        (result,) = self.results
        given = iter(zip(self.tensors, inputs, strict=True))
        sides = [
            (tensor_of(v, logical(len(shape_of(v)))), constants[f"c{i}"])
            if self.weights[i] is not None
            else next(given)
            for i, v in enumerate(self.sides)
        ]
        views = [_view(tensor, self.viewed(i, tensor.shape)) for i, (tensor, _) in enumerate(sides)]
        steps = [_broadcast(view, result) for view in views] + [[result.strides[at] for at in result.order]]

        def body(at: list[Expr]) -> None:
            values = [buffer[i] for (_, buffer), i in zip(sides, at, strict=False)]
            f.store(results[0], at[-1], self.element(values, constants))

        spread(f, result.stored_shape, steps, max(4, 2 * self.machine.lanes), body)


def _view(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor in a shape of as many elements; one that differs lies in its order."""
    return tensor if shape == tensor.shape else replace(tensor, shape=shape, order=logical(len(shape)))


def _broadcast(tensor: Tensor, result: Tensor) -> list[int]:
    """Return the elements from one to the next of an operand, along the dimensions of the result as they lie."""
    along = broadcast_steps(tensor.shape, tensor.strides, len(result.shape))
    return [along[at] for at in result.order]


class IntegerElementwise(Elementwise):
    """One of quantised operands and results."""

    def check(self) -> None:
        """Refuse what is not quantised."""
        if not all(map(quant_of, (*self.sides, self.op.results[0]))):
            raise self.is_not_of("integers")
        self._output = output_of(self.op)
        self.prepare()

    def prepare(self) -> None:
        """Make the scales."""

    def centred(self, value: Expr, index: int) -> Expr:
        """Return an operand less its zero point, as int32."""
        zero_point = self.op.params(index).zero_point
        return cast("int32", value) - zero_point if zero_point else cast("int32", value)

    def scales(self, bounds: Sequence[int]) -> list[Scale]:
        """Return the scales of the op, given what the magnitudes of what they multiply do not exceed."""
        op: Any = self.op
        if op.rounding == "float":
            raise self.refuse("is rounded as float")
        return [Scale(m, s, op.rounding, b) for m, s, b in zip(op.multipliers, op.shifts, bounds, strict=True)]

    def reach(self, index: int) -> int:
        """Return the largest magnitude of an operand less its zero point."""
        return reach(self.op.params(index))


@kernel("Add", "Sub")
class Sum(IntegerElementwise):
    """Both sides lifted by 20 bits and brought to one scale, added, rescaled."""

    def prepare(self) -> None:
        """Make the scale of each side and of the sum."""
        op: Any = self.op
        self._signs = op.signs
        bounds = [self.reach(i) << ELTWISE_LEFT_SHIFT for i in range(len(self.sides))]
        scaled = [int(b * m / 2.0**s) + 2 for b, m, s in zip(bounds, op.multipliers, op.shifts, strict=False)]
        self._most = min(sum(scaled), (1 << 31) - 1)
        self._scales = self.scales([*bounds, sum(scaled)])
        self._fixed = self._in_fixed_point() if len(self.sides) == 2 else None

    def _in_fixed_point(self) -> FixedSum | None:
        """Return the sum of two sides in one fixed point; None where that has not the bytes of the op."""
        op: Any = self.op
        a, b = (np.arange(low, high + 1) for low, high in (op.params(i).bounds for i in range(2)))
        if max(a.size, b.size) > _EIGHT_BITS:
            return None
        *sides, last = (m / 2.0**s for m, s in zip(op.multipliers, op.shifts, strict=True))
        lifted = last * (1 << ELTWISE_LEFT_SHIFT)
        factors = sides[0] * lifted * self._signs[0], sides[1] * lifted * self._signs[1]
        return fixed_sum(op.run_integer(a[:, None], b)[0], a, b, factors, op.bounds())

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return saturate(rescale(Σ ± rescale((x − zp) << 20))).

        No sum is less than what it is compared with: without that LLVM adds in 64 bits, where the product is made.
        """
        if self._fixed:
            a, b = (cast("int32", value) for value in values)
            return replace(self._output, zero_point=0).stored(self._fixed.apply(a, b))
        total: Any = 0
        for i, value in enumerate(values):
            lifted = self.centred(value, i) << ELTWISE_LEFT_SHIFT
            side = cast("int32", self._scales[i].apply(lifted, self._scales[i].values({}, 0)))
            total = total + side if self._signs[i > 0] > 0 else total - side
        last, kept = self._scales[-1], largest(total, const(-self._most))
        return self._output.stored(last.apply(kept, last.values({}, 0)), last.wide)


@kernel("Mul")
class Multiplication(IntegerElementwise):
    """The int32 product, rescaled."""

    def prepare(self) -> None:
        """Make the scale."""
        (self._scale,) = self.scales([self.reach(0) * self.reach(1)])

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return saturate(rescale((a − zp)·(b − zp)))."""
        a, b = (self.centred(v, i) for i, v in enumerate(values))
        return self._output.stored(self._scale.apply(a * b, self._scale.values({}, 0)), self._scale.wide)


@kernel("Max", "Min")
class Pick(IntegerElementwise):
    """Every side rescaled to the output, then one picked."""

    def prepare(self) -> None:
        """Make the scales, where there are any."""
        scaled = self.op.is_scaled  # type: ignore[attr-defined]
        self._scales = self.scales([self.reach(i) for i in range(len(self.sides))]) if scaled else []
        self._pick = largest if type(self.op).__name__ == "Max" else smallest

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return the largest, or smallest, rescaled side."""
        sides = list(values)
        for i, scale in enumerate(self._scales):
            sides[i] = self._output.stored(scale.apply(self.centred(values[i], i), scale.values({}, 0)), scale.wide)
        picked = sides[0]
        for side in sides[1:]:
            picked = self._pick(picked, side)
        return picked


@kernel("Rescale")
class Rescaling(IntegerElementwise):
    """Another scale and zero point."""

    def prepare(self) -> None:
        """Make the scale."""
        op: Any = self.op
        self._scale = Scale(op.multiplier, op.shift, op.rounding, self.reach(0))

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Return saturate(rescale(x − zp))."""
        scaled = self._scale.apply(self.centred(values[0], 0), self._scale.values({}, 0))
        return self._output.stored(scaled, self._scale.wide)


@kernel("Lut")
class Table(Elementwise):
    """A table of the 256 values of an 8-bit tensor."""

    @property
    def sides(self) -> list[SSAValue]:
        """The operand alone: the table is no tensor like it."""
        return [self.op.operands[0]]

    def constants(self) -> dict[str, np.ndarray]:
        """Return the table."""
        assert self.weights[1] is not None
        return {"table": self.weights[1]}

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Look up."""
        return constants["table"][cast("int32", values[0]) - self.op.params(0).bounds[0]]


def reach(params: QuantParams) -> int:
    """Return the largest magnitude of a stored integer less the zero point."""
    return max(params.bounds[1] - params.zero_point, params.zero_point - params.bounds[0])


def output_of(op: TpuOp) -> Output:
    """Return how the quantised result of an op is stored."""
    return Output(op.result_dtype.__name__, op.result_params.zero_point, op.bounds())
