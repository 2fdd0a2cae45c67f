"""Products of two tensors of which none need be a constant matrix: attention, and stacks of constant matrices.

Here are the plain loops, and of which numbers products are; `panels` has the code that copies.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from stepdown.dialects.types import is_none, quant_of, shape_of, storage_of
from stepdown.native.dots import Dot, float_dot, wide_dot
from stepdown.native.halves import HALVES, half_of, laid
from stepdown.native.kernels.base import LOGICAL, Buffers, Kernel, kernel
from stepdown.native.kernels.conv import activated
from stepdown.native.kernels.elementwise import output_of, reach
from stepdown.native.kernels.image import Cut, cuts
from stepdown.native.kernels.matrices import Matrices
from stepdown.native.kernels.results import Run, is_vectorised, store_scaled
from stepdown.native.kernels.spread import shared_one
from stepdown.native.rescaling import Scale
from stepdown.native.tir import Expr, Function, cast, const


class PairProduct(Kernel):
    """Sums of products of rows and columns, one vector of columns at a time, nothing copied.

    A subclass says of which numbers: `dot`, `opened` and `finish`.
    """

    layout = LOGICAL
    dot: Dot

    def check(self) -> None:
        """Refuse a bias that is computed, a constant matrix, which has code of its own, and other types."""
        if self.weights[1] is not None and self.weights[1].ndim == 2:
            raise self.refuse("has a constant matrix")
        if self.weights[2] is None and not is_none(self.op.operands[2]):
            raise self.refuse("has a bias that is no constant")
        op: Any = self.op
        self.over = Matrices.of(shape_of(op.operands[0]), shape_of(op.operands[1]), op.right_transpose)
        self.prepare()

    def prepare(self) -> None:
        """Refuse other types, and make what the sums need."""
        raise NotImplementedError

    def opened(self, value: Expr, side: int) -> Expr:
        """Return an element of an operand as it is multiplied."""
        return value

    def finish(self, total: Expr, column: Expr, constants: Buffers) -> Expr:
        """Return what is stored of a sum."""
        raise NotImplementedError

    def constants(self) -> dict[str, np.ndarray]:
        """Return the side that is constant, and the bias."""
        sides = zip(self.op.operands[:2], self.weights, strict=False)
        held = {f"c{i}": laid(array, storage_of(v)) for i, (v, array) in enumerate(sides) if array is not None}
        bias = self.weights[2]
        return held if bias is None else {**held, "bias": bias.astype(self.dot.sums)}

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over the matrices of the stack, and over parts of their columns."""
        left, right, *_ = self.operands(inputs, constants)
        parts = cuts(self.over.columns, self._width)
        shared = shared_one([*self.over.stack, parts[0].count])
        for part in parts:
            with self._matrix(f, shared) as (a, b, y), self._rounds(f, part, shared) as column:
                at = a, b + column * self.over.right[1], y + column
                self._columns(f, (left, right, results[0]), at, constants, column, part.width)

    @property
    def _width(self) -> int:
        """Columns that are summed at a time."""
        return self.machine.lanes if self.machine.effort.makes_vectors else 1

    @contextmanager
    def _matrix(self, f: Function, shared: int) -> Iterator[list[Expr]]:
        """Write the loops over the stack; yields where a matrix of each operand and of the result begins."""
        at: list[Expr] = [0, 0, 0]
        with ExitStack() as loops:
            for i, size in enumerate(self.over.stack):
                counter = loops.enter_context(f.shared(size) if i == shared else f.loop(size))
                at = [first + counter * steps[i] for first, steps in zip(at, self.over.steps, strict=True)]
            yield [f.let(const(0) + first) for first in at]

    @contextmanager
    def _rounds(self, f: Function, part: Cut, shared: int) -> Iterator[Expr]:
        """Write the loop over the columns of a part; yields the first of each."""
        is_shared = shared == len(self.over.stack)
        with f.shared(part.count) if is_shared else f.loop(part.count) as j:
            yield f.let(j * part.width + part.first)

    def _columns(
        self, f: Function, buffers: Sequence[Any], at: Sequence[Expr], constants: Buffers, column: Expr, width: int
    ) -> None:
        """Write the sums of some columns of a matrix; `at` is where its operands and results begin."""
        (left, right, y), (a, b, first) = buffers, at
        over, (down, across) = self.over, self.over.right
        with f.loop(over.rows) as row:
            sums = f.local(self.dot.sums, width)
            self._start(f, sums, 0, constants, column, width)
            with f.loop(over.depth) as k:
                operand = f.let(cast(self.dot.sums, self.opened(left[a + row * over.depth + k], 0)))
                with f.loop(width, "vector") as lane:
                    other = cast(self.dot.sums, self.opened(right[b + k * down + lane * across], 1))
                    f.store(sums, lane, sums[lane] + operand * other)
            self._store(f, sums, y, Run(0, first + row * over.columns, column), width, constants)

    def _start(self, f: Function, sums: Any, at: int, constants: Buffers, column: Expr, width: int) -> None:
        """Begin a row of sums with the bias."""
        with f.loop(width, "vector") as lane:
            begin = constants["bias"][column + lane] if "bias" in constants else const(0, self.dot.sums)
            f.store(sums, at + lane, begin)

    def _store(self, f: Function, sums: Any, y: Any, run: Run, width: int, constants: Buffers) -> None:
        """Store what is made of neighbouring sums."""
        with f.loop(width, "vector") as lane:
            f.store(y, run.target + lane, self.finish(sums[run.source + lane], run.channel + lane, constants))


class OfIntegers(PairProduct):
    """Exact sums of integers, rescaled."""

    def prepare(self) -> None:
        """Refuse what is not of integers, and make the scale."""
        op: Any = self.op
        if not all(map(quant_of, (*op.operands[:2], op.results[0]))):
            raise self.is_not_of("integers")
        multiplier, shift, bias = self.weights[3], self.weights[4], self.weights[2]
        if multiplier is None or multiplier.size not in (1, self.over.columns):
            raise self.refuse("has neither one scale nor one a column")
        most = 0 if bias is None else int(np.abs(bias.astype(np.int64)).max(initial=0))
        bound = self.over.depth * reach(op.params(0)) * reach(op.params(1)) + most
        self.dot = wide_dot(self.machine)
        self._scale, self._output = Scale(multiplier, shift, op.rounding, bound), output_of(op)

    def opened(self, value: Expr, side: int) -> Expr:
        """Return an operand less its zero point."""
        zero_point, wide = self.op.params(side).zero_point, cast(self.dot.operand, value)
        return wide - const(zero_point, self.dot.operand) if zero_point else wide

    def constants(self) -> dict[str, np.ndarray]:
        """Return the side that is constant, the bias, and the scales of columns."""
        return {**super().constants(), **self._scale.constants(self.over.columns)}

    def finish(self, total: Expr, column: Expr, constants: Buffers) -> Expr:
        """Return the rescaled sum."""
        return self._output.stored(self._scale.apply(total, self._scale.values(constants, column)), self._scale.wide)

    def _store(self, f: Function, sums: Any, y: Any, run: Run, width: int, constants: Buffers) -> None:
        if is_vectorised(self._scale, self.machine):
            store_scaled(f, self._scale, self._output, self.machine.lanes, sums, y, [run], width, constants)
        else:
            super()._store(f, sums, y, run, width, constants)


class OfFloats(PairProduct):
    """Sums of f32, in an order of our own."""

    def prepare(self) -> None:
        """Refuse other types."""
        if {storage_of(v) for v in (*self.op.operands[:2], self.op.results[0])} != {"f32"}:
            raise self.is_not_of("f32")
        self.dot = float_dot(self.machine)

    def finish(self, total: Expr, column: Expr, constants: Buffers) -> Expr:
        """Return the sum after the fused ReLU."""
        return activated(self.op, total)


class OfHalves(PairProduct):
    """Sums of f16 or bf16, in a wider type, rounded once."""

    def prepare(self) -> None:
        """Refuse other types."""
        kinds = {storage_of(v) for v in (*self.op.operands[:2], self.op.results[0])}
        if len(kinds) > 1 or not kinds <= set(HALVES):
            raise self.is_not_of("f16 or bf16")
        self._half = half_of(kinds.pop(), self.machine)
        plain = float_dot(self.machine)
        self.dot = type(plain)(plain.lanes, operand="float32", sums=self._half.wide)

    def opened(self, value: Expr, side: int) -> Expr:
        """Return an operand as float32."""
        return self._half.real(value)

    def finish(self, total: Expr, column: Expr, constants: Buffers) -> Expr:
        """Return the sum after the fused ReLU, rounded."""
        return self._half.closed(activated(self.op, total, self._half.wide))


@kernel("MatMul")
class IntegerPairs(OfIntegers):
    """Integers, where no panel can be copied."""


@kernel("MatMul")
class FloatPairs(OfFloats):
    """f32, where no panel can be copied."""


@kernel("MatMul")
class HalfPairs(OfHalves):
    """f16 or bf16, where no panel can be copied."""
