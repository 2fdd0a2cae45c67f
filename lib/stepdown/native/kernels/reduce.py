"""Sums, means and extremes along some dimensions."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any, ClassVar

from stepdown.dialects.types import quant_of, shape_of, storage_of
from stepdown.native.kernels.base import SAME, Buffers, Kernel, kernel
from stepdown.native.kernels.elementwise import output_of, reach
from stepdown.native.kernels.image import counted, cuts, rounds
from stepdown.native.kernels.spread import shared_one
from stepdown.native.rescaling import Scale
from stepdown.native.tensors import Order
from stepdown.native.tir import Expr, Function, cast, const, largest, smallest

_VECTORS = 4


class Reduction(Kernel):
    """A fold of some dimensions: give `start`, `combine` and `result`."""

    layout = SAME
    types: ClassVar[tuple[str, ...]] = ("i8", "u8")
    sum_type = "int32"

    def check(self) -> None:
        """Refuse other types."""
        kind = storage_of(self.op.operands[0])
        if kind not in self.types or (kind in ("i8", "u8") and not quant_of(self.op.operands[0])):
            raise self.is_not_of(f"{' or '.join(self.types)}")
        shape, self.reduced = shape_of(self.op.operands[0]), folded_axes(self.op)
        self.count = prod(shape[axis] for axis in self.reduced)
        self.prepare()

    def prepare(self) -> None:
        """Make the scale."""

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Take the operand as it lies; the dimensions of the result stay in their order."""
        (order,) = orders
        return [order], [remaining(order, self.reduced, len(shape_of(self.op.results[0])))]

    def start(self) -> Expr:
        """Return the fold of nothing."""
        raise NotImplementedError

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the fold with one more element."""
        raise NotImplementedError

    def result(self, total: Expr) -> Expr:
        """Return what is stored of a fold."""
        raise NotImplementedError

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the loops over what stays, the last dimension of it in vectors, and over what is folded."""
        source = self.tensors[0]
        kept = [at for at in source.order if at not in self.reduced]
        sizes, steps = [source.shape[at] for at in kept] or [1], [source.strides[at] for at in kept] or [0]
        parts = cuts(sizes[-1], _VECTORS * self.machine.lanes)
        shared = shared_one([*sizes[:-1], sum(part.count for part in parts)])
        with ExitStack() as loops:
            place: Expr = 0
            row: Expr = 0
            for at, (size, step) in enumerate(zip(sizes[:-1], steps[:-1], strict=True)):
                i = loops.enter_context(f.shared(size) if at == shared else f.loop(size))
                place, row = place + i * step, row * size + i
            for before, part in counted(parts):
                with rounds(f, part.count, before, parts, shared == len(sizes) - 1) as i:
                    column = i * part.width + part.first
                    start = place + column * steps[-1], row * sizes[-1] + column
                    self._some(f, inputs[0], results[0], start, steps[-1], part.width)

    def _some(self, f: Function, x: Any, y: Any, at: tuple[Expr, Expr], step: int, width: int) -> None:
        """Fold `width` neighbouring results; `at` is where the first one starts, and goes."""
        place, target = at
        total = f.local(self.sum_type, width)
        with f.loop(width, "vector") as lane:
            f.store(total, lane, self.start())
        with ExitStack() as loops:
            for axis in (a for a in self.tensors[0].order if a in self.reduced):
                place = place + loops.enter_context(f.loop(self.tensors[0].shape[axis])) * self.tensors[0].strides[axis]
            with f.loop(width, "vector") as lane:
                f.store(total, lane, self.combine(total[lane], x[place + lane * step]))
        with f.loop(width, "vector") as lane:
            f.store(y, target + lane, self.result(total[lane]))


def folded_axes(op: Any) -> set[int]:
    """Return the dimensions that a reduction folds: those that it names, or all."""
    rank = len(shape_of(op.operands[0]))
    return {axis % rank for axis in op.axes or range(rank)}


def remaining(order: Order, folded: set[int], rank: int) -> Order:
    """Return the order in which the dimensions that stay lie, of a result that has a rank."""
    if rank == len(order):
        return order
    kept = [at for at in order if at not in folded]
    return tuple(sorted(kept).index(at) for at in kept)


@kernel("ReduceMean", "ReduceSum")
class Summation(Reduction):
    """The exact sum, rescaled."""

    def prepare(self) -> None:
        """Make the scale."""
        op: Any = self.op
        if op.rounding == "float":
            raise self.refuse("is rounded as float")
        self._zero_point, self._output = op.params(0).zero_point, output_of(self.op)
        (multiplier,), (shift,) = op.multipliers, op.shifts
        self._scale = Scale(multiplier, shift, op.rounding, reach(op.params(0)) * self.count)

    def start(self) -> Expr:
        """Return 0."""
        return const(0)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the sum."""
        return total + (cast("int32", value) - self._zero_point)

    def result(self, total: Expr) -> Expr:
        """Return saturate(rescale(Σ (x − zp)))."""
        return self._output.stored(self._scale.apply(total, self._scale.values({}, 0)), self._scale.wide)


@kernel("ReduceMax", "ReduceMin")
class Extreme(Reduction):
    """The largest or smallest stored integer."""

    def prepare(self) -> None:
        """Choose which."""
        is_max = type(self.op).__name__ == "ReduceMax"
        self._pick: Callable[[Expr, Expr], Expr] = largest if is_max else smallest
        self._first = self.op.params(0).bounds[0 if is_max else 1]

    @property
    def sum_type(self) -> str:  # type: ignore[override]
        """The type of the operand."""
        return self.tensors[0].dtype

    def start(self) -> Expr:
        """Return what every element replaces."""
        return const(self._first, self.sum_type)

    def combine(self, total: Expr, value: Expr) -> Expr:
        """Return the extreme one."""
        return self._pick(total, value)

    def result(self, total: Expr) -> Expr:
        """Return it as it is."""
        return total
