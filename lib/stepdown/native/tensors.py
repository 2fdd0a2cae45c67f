"""Tensors as generated code sees them: elements of one type in a row, in an order of the dimensions of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.native.tir import Expr
from stepdown.numerics.quantize import QuantParams

Order = tuple[int, ...]
"""A permutation: a tensor lies in memory as `array.transpose(order)`, dense.

One that ends in −x is blocked: dimension 1 is filled up to whole blocks of x and divided by x, and the innermost
dimension is the place in a block.
"""

DTYPES = {
    "f32": "float32", "f16": "uint16", "bf16": "uint16", "f64": "float64", "i1": "int8", "i8": "int8", "u8": "uint8",
    "i16": "int16", "u16": "uint16", "i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64",
}  # fmt: skip
"""How TIR names the storage types; reals of 16 bits are worked on as bits."""
BYTES = {
    "f32": 4, "f16": 2, "bf16": 2, "f64": 8, "i1": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "i32": 4, "u32": 4,
    "i64": 8, "u64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor in memory: its storage type, logical shape, and the order in which the dimensions lie."""

    type: str
    shape: tuple[int, ...]
    order: Order
    params: QuantParams | None = None

    @property
    def dtype(self) -> str:
        """TIR's name of the type."""
        return DTYPES[self.type]

    @property
    def block(self) -> int:
        """Channels of a block; 1 where it is not blocked."""
        return -self.order[-1] if is_blocked(self.order) else 1

    @property
    def elements(self) -> int:
        """The number of elements that it lies in, with those that fill a block up."""
        if self.block > 1:
            return math.prod(self.shape) // self.shape[1] * (-(-self.shape[1] // self.block) * self.block)
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The bytes it takes."""
        return self.elements * BYTES[self.type]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The sizes in the order in which they lie."""
        return tuple(self.shape[at] for at in self.order)

    @property
    def strides(self) -> tuple[int, ...]:
        """By logical dimension, the elements from one to the next."""
        found = [0] * len(self.shape)
        step = 1
        for at in reversed(self.order):
            found[at] = step
            step *= self.shape[at]
        return tuple(found)

    @property
    def zero_point(self) -> int:
        """The stored integer of 0; 0 where it is not quantised."""
        return self.params.zero_point if self.params else 0

    def at(self, *place: Expr) -> Expr:
        """Return the index of the element at a logical place."""
        return sum(i * stride for i, stride in zip(place, self.strides, strict=True))


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the elements from one to the next along each dimension, of a shape that lies as it is."""
    return tuple(math.prod(shape[at + 1 :]) for at in range(len(shape)))


def broadcast_steps(shape: Sequence[int], strides: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return the elements from one to the next along the dimensions of a rank that a tensor broadcasts to."""
    own = [step if size > 1 else 0 for size, step in zip(shape, strides, strict=True)]
    return (*[0] * (rank - len(own)), *own)


def logical(rank: int) -> Order:
    """Return the order in which nothing is moved."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the order [N, *S, C] of a tensor [N, C, *S]."""
    return (0, *range(2, rank), 1) if rank > 2 else logical(rank)


def blocked(rank: int, block: int) -> Order:
    """Return the order [N, C / block, *S, block]; that of the program where there are no spatial dimensions."""
    return (*range(rank), -block) if rank > 2 else logical(rank)


def transposed(order: Order, permutation: Sequence[int]) -> Order:
    """Return the order in which x.transpose(permutation) lies where nothing is moved and x lies in `order`."""
    place = {dimension: at for at, dimension in enumerate(permutation)}
    return tuple(place[dimension] for dimension in order)


def is_blocked(order: Order) -> bool:
    """Tell whether channels lie in blocks."""
    return bool(order) and order[-1] < 0


def same_bytes(shape: tuple[int, ...], a: Order, b: Order) -> bool:
    """Tell whether a tensor of a shape lies the same in both orders: dimensions of size 1 may be anywhere."""
    if is_blocked(a) or is_blocked(b):
        return a == b
    return [i for i in a if shape[i] != 1] == [i for i in b if shape[i] != 1]
