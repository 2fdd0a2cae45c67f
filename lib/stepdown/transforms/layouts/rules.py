"""How an op is written once the tensors around it are stored in another order of their dimensions.

    @rule(Concat)
    def concat(op, order): ...

A rule gets the order in which the op's main operand is stored, and says how the op then reads every operand, in which
orders its results are stored, and which attributes change; or None where the op cannot be written so.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepdown.dialects.op import Order, TensorOp
from stepdown.dialects.top.arithmetic import Broadcast
from stepdown.dialects.top.base import Unary, normalize_axes
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.index import Gather, TopK
from stepdown.dialects.top.move import Concat, Expand, Pad, Reshape, Slice, Split, Tile
from stepdown.dialects.top.normalization import LpNorm, MeanVarianceNorm
from stepdown.dialects.top.quantize import Scaled
from stepdown.dialects.top.reduce import ArgReduce, Cumulative, Reduce
from stepdown.dialects.top.softmax import Distribution
from stepdown.dialects.types import Shape, is_none, shape_of
from stepdown.transforms.layouts.orders import (
    channels_first,
    channels_last,
    elements,
    identity,
    own_order,
    permuted,
    sequence,
    spread,
)


@dataclass(frozen=True)
class Want:
    """How an op reads an operand: in `order` of its dimensions, then reshaped to `shape` where that is given.

    A `loose` one is content with any shape that has the elements in that order.
    """

    order: Order
    shape: Shape | None = None
    loose: bool = False


@dataclass(frozen=True)
class Form:
    """One way to write an op: how it reads its operands, the orders its results are stored in, changed attributes."""

    wants: tuple[Want, ...]
    makes: tuple[Order, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Any, Order], Form | None]
RULES: dict[type[TensorOp], Rule] = {}


def rule(*classes: type[TensorOp]) -> Callable[[Rule], Rule]:
    """Register the rule of op classes and their subclasses."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(classes, function))
        return function

    return register


def plain(op: TensorOp) -> Form:
    """Return the op as it is written."""
    wants = tuple(Want(own_order(v), loose=isinstance(op, Reshape)) for v in op.operands)
    return Form(wants, tuple(map(own_order, op.results)))


def stored_in(op: TensorOp, order: Order) -> Form | None:
    """Return the op for a main operand that is stored in `order`, None where it cannot be written for that."""
    found = next((RULES[cls] for cls in type(op).__mro__ if cls in RULES), None)
    return found(op, order) if found else None


def main_rank(op: TensorOp) -> int:
    """Return the rank of the tensors whose order a rule is given: of the result where operands are broadcast."""
    value = op.results[0] if isinstance(op, Broadcast | Expand) else op.operands[0]
    return len(shape_of(value))


def _broadcast(operand: Shape, order: Order) -> Want:
    if math.prod(operand) == 1 and len(operand) <= len(order):
        return Want(identity(len(operand)), loose=True)
    return Want(*spread(operand, order))


@rule(Unary, Cast)
def _elementwise(op: TensorOp, order: Order) -> Form:
    return Form((Want(order),), (order,))


@rule(Scaled)
def _scaled(op: Scaled, order: Order) -> Form | None:
    if op.block_size:
        return None
    others = op.operands[1:]
    moves = any(elements(v) > 1 for v in others if not is_none(v))
    axis = {"axis": order.index(op.axis % len(order))} if moves else {}
    return Form((Want(order), *(Want(own_order(v)) for v in others)), (order,), axis)


@rule(Broadcast, Expand)
def _broadcasting(op: TensorOp, order: Order) -> Form:
    wants = tuple(_broadcast(shape_of(v), order) for v in op.operands)
    shape = {"shape": permuted(op.shape, order)} if isinstance(op, Expand) else {}
    return Form(wants, (order,), shape)


@rule(Concat)
def _concat(op: Concat, order: Order) -> Form:
    return Form((Want(order),) * len(op.operands), (order,), {"axis": order.index(op.axis)})


@rule(Split)
def _split(op: Split, order: Order) -> Form:
    return Form((Want(order),), (order,) * len(op.results), {"axis": order.index(op.axis)})


@rule(Slice)
def _slice(op: Slice, order: Order) -> Form:
    bounds = {"starts": op.starts, "ends": op.ends, "steps": op.steps}
    return Form((Want(order),), (order,), {name: permuted(values, order) for name, values in bounds.items()})


@rule(Pad)
def _pad(op: Pad, order: Order) -> Form:
    begins, ends = op.pads[: len(order)], op.pads[len(order) :]
    return Form((Want(order),), (order,), {"pads": permuted(begins, order) + permuted(ends, order)})


@rule(Tile)
def _tile(op: Tile, order: Order) -> Form:
    return Form((Want(order),), (order,), {"repeats": permuted(op.repeats, order)})


@rule(Reduce)
def _reduce(op: Reduce, order: Order) -> Form:
    axes = op.axes_of(shape_of(op.operands[0]))
    made = order if op.keepdims else _without(order, axes)
    return Form((Want(order),), (made,), {"axes": sorted(order.index(a) for a in axes)})


@rule(ArgReduce)
def _arg_reduce(op: ArgReduce, order: Order) -> Form:
    axis = op.axis % len(order)
    made = order if op.keepdims else _without(order, (axis,))
    return Form((Want(order),), (made,), {"axis": order.index(axis)})


def _without(order: Order, gone: tuple[int, ...]) -> Order:
    """Return the order of the dimensions that are left when those in `gone` are dropped."""
    kept = [d for d in range(len(order)) if d not in gone]
    return tuple(kept.index(d) for d in order if d not in gone)


@rule(Cumulative, LpNorm)
def _along(op: Any, order: Order) -> Form:
    return Form((Want(order),), (order,), {"axis": order.index(op.axis % len(order))})


@rule(Distribution)
def _distribution(op: Distribution, order: Order) -> Form | None:
    axis = op.axis % len(order)
    if op.flat and axis != len(order) - 1:
        return None
    return Form((Want(order),), (order,), {"axis": order.index(axis), "flat": False})


@rule(MeanVarianceNorm)
def _mean_variance(op: MeanVarianceNorm, order: Order) -> Form:
    axes = normalize_axes(op.axes, len(order))
    return Form((Want(order),), (order,), {"axes": sorted(order.index(a) for a in axes)})


@rule(TopK)
def _top_k(op: TopK, order: Order) -> Form:
    return Form((Want(order),), (order, order), {"axis": order.index(op.axis)})


@rule(Gather)
def _gather(op: Gather, order: Order) -> Form:
    """The dimensions of the indices stand in the place of the axis."""
    count = len(shape_of(op.operands[1]))
    made: list[int] = []
    for d in order:
        made += range(d, d + count) if d == op.axis else [d if d < op.axis else d + count - 1]
    return Form((Want(order), Want(identity(count))), (tuple(made),), {"axis": order.index(op.axis)})


@rule(Reshape)
def _reshape(op: Reshape, order: Order) -> Form | None:
    """Dimensions that are merged or split must lie together; all others may be in any order."""
    source, target = shape_of(op.operands[0]), op.shape
    groups = _groups(source, target)
    wanted = sequence(source, order)
    moved = sorted(groups, key=lambda group: wanted.index(group[0][0]))
    if tuple(d for group in moved for d in group[0]) != wanted:
        return None
    made = _with_ones(tuple(d for group in moved for d in group[1]), target)
    return Form((Want(order, loose=True),), (made,), {"shape": permuted(target, made)})


def _groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]]:
    """Return the smallest runs of dimensions, sizes of 1 left out, of which a reshape makes others."""
    if 0 in source:
        return [([d for d, n in enumerate(source) if n != 1], [d for d, n in enumerate(target) if n != 1])]
    left, right = ([d for d, n in enumerate(shape) if n != 1] for shape in (source, target))
    groups = []
    while left:
        taken, made = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(source[d] for d in taken)) != (b := math.prod(target[d] for d in made)):
            (taken.append(left.pop(0)) if a < b else made.append(right.pop(0)))
        groups.append((taken, made))
    return groups


def _with_ones(order: Order, shape: Shape) -> Order:
    """Return an order of all dimensions that has those above 1 in `order`: a usual one where there is one."""
    rank = len(shape)
    usual = (identity(rank), channels_first(rank), channels_last(rank))
    ones = tuple(d for d in range(rank) if shape[d] == 1)
    return next((known for known in usual if sequence(shape, known) == order), (*ones, *order))
