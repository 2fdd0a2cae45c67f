"""Ops whose results depend on the place of an element: triangles, hot places, reversed sequences, tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepdown.dialects.types import quant_of, storage_of
from stepdown.native.halves import laid
from stepdown.native.kernels.base import LOGICAL, Buffers, Kernel, kernel
from stepdown.native.kernels.elementwise import Table
from stepdown.native.kernels.image import along
from stepdown.native.kernels.spread import spread
from stepdown.native.tir import Expr, Function, cast, const, select

_INDICES = ("i32", "i64", "i8", "u8", "f32")


@kernel("Trilu")
class Triangle(Kernel):
    """The upper or lower triangle of the last two dimensions, 0 elsewhere."""

    layout = LOGICAL

    def check(self) -> None:
        """Refuse quantised tensors."""
        if any(map(quant_of, (*self.op.operands, *self.op.results))):
            raise self.refuse("is quantised")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops; an element's diagonal is its column less its row."""
        (tensor,), op = self.tensors, self.op
        diagonals = [*[0] * (len(tensor.shape) - 2), -1, 1]
        k: int = op.k  # type: ignore[attr-defined]

        def element(at: list[Expr]) -> None:
            inside = at[1] >= k if op.upper else at[1] <= k  # type: ignore[attr-defined]
            f.store(results[0], at[0], select(inside, inputs[0][at[0]], const(0, tensor.dtype)))

        spread(f, tensor.shape, [tensor.strides, diagonals], 2 * self.machine.lanes, element)


@kernel("OneHot")
class Hot(Kernel):
    """values[1] at the index along a new dimension, values[0] elsewhere."""

    layout = LOGICAL

    def check(self) -> None:
        """Refuse indices of other types, and quantised values."""
        if storage_of(self.op.operands[0]) not in _INDICES or any(map(quant_of, self.op.operands)):
            raise self.refuse(f"has indices that are not of {', '.join(_INDICES)}, or quantised values")
        if self.op.operands[0] not in self.inputs:
            raise self.refuse("has constant indices")

    def constants(self) -> dict[str, np.ndarray]:
        """Return the values where they are known."""
        return {} if self.weights[1] is None else {"values": laid(self.weights[1], storage_of(self.op.results[0]))}

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over the result."""
        values = constants["values"] if self.weights[1] is not None else inputs[1]
        (result,), axis = self.results, self.op.axis  # type: ignore[attr-defined]
        strides = list(self.tensors[0].strides)
        steps = [*strides[:axis], 0, *strides[axis:]]
        numbers = [int(at == axis) for at in range(len(result.shape))]
        depth = const(self.op.depth)  # type: ignore[attr-defined]

        def element(at: list[Expr]) -> None:
            index = cast("int64", inputs[0][at[0]])
            place = select(index < 0, index + cast("int64", depth), index)
            f.store(results[0], at[1], select(place.equal(cast("int64", at[2])), values[1], values[0]))

        spread(f, result.shape, [steps, result.strides, numbers], 2 * self.machine.lanes, element)


@kernel("ReverseSequence")
class Reversal(Kernel):
    """The beginnings of sequences reversed, as many elements of each as a tensor says."""

    layout = LOGICAL

    def check(self) -> None:
        """Refuse lengths of other types."""
        if storage_of(self.op.operands[1]) not in _INDICES or self.op.operands[0] not in self.inputs:
            raise self.refuse(f"has lengths that are not of {', '.join(_INDICES)}, or constant elements")

    def constants(self) -> dict[str, np.ndarray]:
        """Return the lengths where they are known."""
        return {} if self.weights[1] is None else {"lengths": self.weights[1].astype(np.int64)}

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over sequences and their elements, each a run of numbers."""
        lengths = constants["lengths"] if self.weights[1] is not None else inputs[1]
        (rows, columns, *_), (row, column, *_) = self.tensors[0].shape, self.tensors[0].strides
        by_rows = self.op.time_axis == 0  # type: ignore[attr-defined]
        with f.shared(rows) as i, f.loop(columns) as j:
            batch, time = (j, i) if by_rows else (i, j)
            length = f.let(cast("int32", lengths[batch]))
            other = f.let(select(time < length, length - 1 - time, time))
            source = other * row + j * column if by_rows else i * row + other * column
            target = i * row + j * column
            along(
                f, column, self.machine.register_bytes,
                lambda k: f.store(results[0], target + k, inputs[0][source + k]),
            )  # fmt: skip


@kernel("Lookup")
class Looking(Table):
    """A table of the 256 values of an 8-bit tensor, known or not."""

    def constants(self) -> dict[str, np.ndarray]:
        """Return the table where it is known."""
        return {} if self.weights[1] is None else {"table": laid(self.weights[1], storage_of(self.op.results[0]))}

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over elements."""
        table = constants["table"] if self.weights[1] is not None else inputs[1]
        super().write(f, inputs, results, {"table": table})

    def element(self, values: Sequence[Expr], constants: Buffers) -> Expr:
        """Look up."""
        least = 128 if storage_of(self.op.operands[0]) == "i8" else 0
        return constants["table"][cast("int32", values[0]) + least]
