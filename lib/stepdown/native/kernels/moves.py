"""Moves: whatever an op does to the places of elements is found by moving their numbers, and written as loops.

Most moves are sums of one table a dimension: element (i, j, k) of the result is element a[i] + b[j] + c[k] of the
operand. A table that grows evenly is a stride, −1 stands for the value of padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from stepdown.dialects.op import Kind
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import is_float, shape_of
from stepdown.native.halves import HALVES, stored
from stepdown.native.kernels.base import SAME, Buffers, Kernel, kernel
from stepdown.native.kernels.image import along
from stepdown.native.kernels.spread import shared_one, spread
from stepdown.native.tensors import Order, logical
from stepdown.native.tir import Expr, Function, const

_OTHERS = ("Concat", "Reshape", "Transpose")
PADDING = -(1 << 30)
MOVES = [name for name, op in TOP_OPS.items() if op.kind is Kind.MOVE and name not in _OTHERS]
_MOST_ELEMENTS = 1 << 26


@dataclass(frozen=True)
class Axis:
    """One dimension of the result: the distance of each of its elements from the first; PADDING where there is none."""

    places: np.ndarray

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self.places)

    @property
    def stride(self) -> int | None:
        """The distance from one element to the next where it is the same everywhere, else None."""
        if (self.places == PADDING).any():
            return None
        steps = np.diff(self.places)
        return int(steps[0]) if steps.size and (steps == steps[0]).all() else (None if steps.size else 0)


@dataclass(frozen=True)
class Map:
    """Where the elements of a result come from: its axes as they lie, the first place, and the value of padding."""

    axes: list[Axis]
    start: int
    fill: float


@kernel(*MOVES)
class Moving(Kernel):
    """Any op that moves the elements of one operand."""

    def check(self) -> None:
        """Find where each element comes from; refuse what moves constants or several tensors."""
        if len(self.inputs) != 1 or self.op.operands[0] is not self.inputs[0]:
            raise self.refuse("moves constants, or several tensors")
        shape = shape_of(self.inputs[0])
        count = prod(shape)
        if max(count, *(prod(shape_of(r)) for r in self.op.results)) > _MOST_ELEMENTS:
            raise self.refuse("is too large")
        numbers = np.arange(count, dtype=np.float64 if is_float(self.inputs[0]) else np.int64).reshape(shape)
        runs = [self.op.compute(numbers + shift, *self.weights[1:]) for shift in (0, count)]
        self._made = [(np.asarray(a), np.asarray(b)) for a, b in zip(*runs, strict=True)]

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Take the operand as it lies; a result of the same rank lies alike, another one as in the program."""
        (order,) = orders
        ranks = [len(shape_of(r)) for r in self.op.results]
        return [order], [order if rank == len(order) else logical(rank) for rank in ranks]

    def place(self, inputs: Sequence[Order], results: Sequence[Order]) -> None:
        """Fix how the tensors lie, and where elements come from."""
        super().place(inputs, results)
        self._maps = [self._map(i) for i in range(len(self.results))]

    def _map(self, index: int) -> Map:
        first, second = (run.transpose(self.results[index].order) for run in self._made[index])
        moved = first != second  # what does not move with the numbers is the value of padding
        fill = 0 if moved.all() else first[~moved].flat[0]
        source = self.tensors[0]
        offsets = np.ogrid[tuple(slice(0, n) for n in source.shape)]
        lying = sum((o * s for o, s in zip(offsets, source.strides, strict=True)), np.zeros(source.shape, np.int64))
        places = np.where(moved, lying.reshape(-1)[np.where(moved, first, 0).astype(np.int64)], PADDING)
        axes, start = _separated(places)
        if not axes or (first[~moved] != fill).any():
            raise self.refuse("moves elements in no regular way")
        kind = self.results[index].type
        return Map(axes, start, float(stored(np.asarray(fill), kind) if kind in HALVES else fill))

    def constants(self) -> dict[str, np.ndarray]:
        """Return the tables that are not even."""
        return {
            f"t{r}_{i}": axis.places.astype(np.int32)
            for r, each in enumerate(self._maps)
            for i, axis in enumerate(each.axes)
            if axis.stride is None
        }

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops of each result."""
        for r, (each, y) in enumerate(zip(self._maps, results, strict=True)):
            tables = [constants.get(f"t{r}_{i}") for i in range(len(each.axes))]
            fill = const(each.fill, self.results[r].dtype)
            shared = shared_one([axis.size for axis in each.axes[: _uneven(each.axes)]])
            _Loops(f, inputs[0], y, each.axes, tables, fill, self.machine.register_bytes, shared).write(
                0, each.start, 0, []
            )


@dataclass(frozen=True)
class _Loops:
    """The loops over the axes of a result, from the outside in; even ones at the end are joined."""

    f: Function
    x: Any
    y: Any
    axes: list[Axis]
    tables: list[Any]
    fill: Expr
    lanes: int
    shared: int
    """The axis that threads share; −1 where it is among those that are joined."""

    def write(self, depth: int, source: Expr, target: Expr, conditions: list[Expr]) -> None:
        """Write the axes from `depth` on."""
        if depth == _uneven(self.axes):
            self._even(depth, source, target, conditions)
            return
        axis, table = self.axes[depth], self.tables[depth]
        with self.f.shared(axis.size) if depth == self.shared else self.f.loop(axis.size) as i:
            step = i * axis.stride if table is None else self.f.let(table[i])
            if (axis.places == PADDING).any():
                conditions = [*conditions, step >= 0]
            self.write(depth + 1, source + step, target * axis.size + i, conditions)

    def _even(self, depth: int, source: Expr, target: Expr, conditions: list[Expr]) -> None:
        sizes = [axis.size for axis in self.axes[depth:]]
        count = prod(sizes)
        strides = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
        steps = [[axis.stride or 0 for axis in self.axes[depth:]], strides]

        def one(at: list[Expr]) -> None:
            self.f.store(self.y, target * count + at[1], self.x[source + at[0]])

        def move() -> None:
            spread(self.f, sizes, steps, self.lanes, one, self.shared < 0)

        def pad() -> None:
            along(self.f, count, self.lanes, lambda i: self.f.store(self.y, target * count + i, self.fill))

        if not conditions:
            move()
            return
        whole = conditions[0]
        for condition in conditions[1:]:
            whole = whole & condition
        self.f.either(whole, move, pad)


def _uneven(axes: list[Axis]) -> int:
    """Return how many axes there are up to the last that is not even."""
    return max((at + 1 for at, axis in enumerate(axes) if axis.stride is None), default=0)


def _separated(places: np.ndarray) -> tuple[list[Axis], int]:
    """Return the table of each dimension, and the first place; no axes where there are no such tables."""
    found = np.argwhere(places != PADDING)
    if not len(found):
        return [Axis(np.full(n, PADDING)) for n in places.shape], 0
    origin = tuple(found[0])
    start, axes = int(places[origin]), []
    for d in range(places.ndim):
        line = places[*origin[:d], :, *origin[d + 1 :]]
        kept = line != PADDING
        first = int(line[kept][0])
        start += first - int(places[origin])
        axes.append(np.where(kept, line - first, PADDING))
    total = np.zeros(places.shape, np.int64) + start
    valid = np.ones(places.shape, bool)
    for d, table in enumerate(axes):
        along_d = table.reshape([-1 if i == d else 1 for i in range(places.ndim)])
        total = total + along_d
        valid &= along_d != PADDING
    fits = np.array_equal(np.where(valid, total, PADDING), places)
    return ([Axis(table) for table in axes], start) if fits else ([], 0)


@kernel("Concat")
class Concatenation(Kernel):
    """Tensors one after the other along a dimension."""

    layout = SAME

    def check(self) -> None:
        """Refuse constants among the tensors."""
        if len(self.inputs) != len(self.op.operands):
            raise self.refuse("moves constants")

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Copy each tensor to its place."""
        (result,) = self.results
        axis = self.op.axis % len(result.shape)  # type: ignore[attr-defined]
        first = 0
        for tensor, x in zip(self.tensors, inputs, strict=True):
            steps = [[t.strides[at] for at in result.order] for t in (tensor, result)]

            def one(at: list[Expr], x: Any = x, offset: int = first * result.strides[axis]) -> None:
                f.store(results[0], at[1] + offset, x[at[0]])

            spread(f, tensor.stored_shape, steps, self.machine.register_bytes, one)
            first += tensor.shape[axis]
