"""Permutations of dimensions, as numpy.transpose takes them: dimension i of the result is dimension order[i]."""

import math
from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue

from stepdown.dialects.op import Order, is_identity
from stepdown.dialects.quant import UniformType
from stepdown.dialects.types import Shape, is_none, quant_of, shape_of
from stepdown.numerics.quantize import QuantParams


def identity(rank: int) -> Order:
    """Return the order that leaves every dimension in its place."""
    return tuple(range(rank))


def own_order(value: SSAValue) -> Order:
    """Return the order of a value's dimensions as they are; () for an absent operand."""
    return () if is_none(value) else identity(len(shape_of(value)))


def channels_first(rank: int) -> Order:
    """Return the order from [N, *S, C] to [N, C, *S]; nothing moves below rank 3."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 2 else identity(rank)


def channels_last(rank: int) -> Order:
    """Return the order from [N, C, *S] to [N, *S, C]; nothing moves below rank 3."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def compose(first: Order, second: Order) -> Order:
    """Return the order that does what transposing by `first`, then by `second` does."""
    return tuple(first[i] for i in second)


def inverse(order: Order) -> Order:
    """Return the order that undoes `order`."""
    return tuple(order.index(i) for i in range(len(order)))


def relative(stored: Order, wanted: Order) -> Order:
    """Return the order that takes a tensor stored in one order of its dimensions to another."""
    return compose(inverse(stored), wanted)


def sequence(shape: Shape, order: Order) -> Order:
    """Return the order without the dimensions of size 1: equal ones have their elements in the same places."""
    return tuple(d for d in order if shape[d] != 1)


def permuted(shape: Sequence[int], order: Order) -> Shape:
    """Return a shape, or other values by dimension, in another order."""
    return tuple(shape[d] for d in order)


def elements(value: SSAValue) -> int:
    """Return the number of elements of a value."""
    return math.prod(shape_of(value))


def moved_type(kind: Attribute, order: Order, shape: Shape | None = None) -> TensorType:
    """Return the type of a tensor transposed by `order`, then reshaped by dimensions of size 1 to `shape`.

    The axis of a type with a scale a channel moves along.
    """
    assert isinstance(kind, TensorType)
    if shape is None and is_identity(order):
        return kind
    placed = permuted(shape_of(kind), order)
    params, element = quant_of(kind), kind.element_type
    if params is not None and params.axis is not None:
        axis = order.index(params.axis)
        place = axis if shape is None else _place(placed, axis, shape)
        element = UniformType(QuantParams(params.scale, params.zero_point, params.type, place))
    return TensorType(element, placed if shape is None else shape)


def _place(source: Shape, axis: int, target: Shape) -> int:
    """Return where dimension `axis` is once dimensions of size 1 have been added or dropped elsewhere."""
    before = math.prod(source[:axis])
    return next(i for i in range(len(target)) if target[i] == source[axis] and math.prod(target[:i]) == before)


def spread(shape: Shape, order: Order) -> tuple[Order, Shape | None]:
    """Return how an operand must lie to be broadcast against tensors of a higher rank that are stored in `order`.

    The result is the order of its own dimensions, and the shape that it then is reshaped to, None where it is that
    already: b[C] against x[N, H, W, C] stored as [N, C, H, W] becomes [C, 1, 1].
    """
    missing = len(order) - len(shape)
    own = tuple(d - missing for d in order if d >= missing)
    places = list(order)
    while places and places[0] < missing:
        places.pop(0)
    target = tuple(1 if d < missing else shape[d - missing] for d in places)
    return own, None if target == permuted(shape, own) else target
