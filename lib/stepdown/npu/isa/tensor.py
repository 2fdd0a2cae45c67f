"""The operands of commands: tensors of four dimensions, in local or global memory."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.errors import InputError
from stepdown.npu.isa.fields import Record, number, word

BYTES = {"i8": 1, "u8": 1, "i16": 2, "u16": 2, "i32": 4, "f16": 2, "bf16": 2, "f32": 4}
"""Bytes of an element by type; the order is that of the encoded numbers."""
FLOATS = ("f16", "bf16", "f32")
MAX_ELEMENTS = 1 << 31

Four = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor(Record):
    """A tensor [n, c, h, w] at an address.

    In global memory, element (n, c, h, w) lies at address + n·strides[0] + c·strides[1] + h·strides[2] + w·strides[3].
    In local memory channels are spread over the lanes: with p = lane + c the element lies in lane p mod lanes, at the
    offset address + n·strides[0] + ⌊p / lanes⌋·strides[1] + h·strides[2] + w·strides[3] of that lane.
    A stride of 0 repeats elements; only operands that are read may have one.

    C1: no size is 0, and there are at most 2^31 elements
    C2: address and strides are multiples of the bytes of an element
    """

    space: str = word("which memory", "local", "global")
    type: str = word("the type of an element", *BYTES)
    lane: int = number("u16", "lane", "where channel 0 lies; 0 in global memory", 0)
    address: int = number("u64", "bytes", "where the first element lies: in its lane, or in global memory")
    shape: Four = number("u32", "elements", "n, c, h, w", count=4)
    strides: tuple[int, int, int, int] = number(
        "i32", "bytes", "steps of n, c (in local memory: of ⌊p / lanes⌋), h, w", count=4
    )

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return BYTES[self.type]

    @property
    def is_float(self) -> bool:
        """Tell whether elements are floating point."""
        return self.type in FLOATS

    @property
    def elements(self) -> int:
        """The number of elements."""
        n, c, h, w = self.shape
        return n * c * h * w

    def check(self, name: str) -> None:
        """Check the constraints.

        Raises:
            InputError: one is broken; names it.
        """
        if not 0 < self.elements <= MAX_ELEMENTS:
            raise InputError(f"{name} has the shape {shaped(self.shape)} (C1: 1 to 2^31 elements)")
        odd = [value for value in (self.address, *self.strides) if value % self.element_bytes]
        if odd:
            raise InputError(f"{name} is misaligned: {odd[0]} is no multiple of {self.element_bytes} (C2: {self.type})")


def packed(
    type: str, shape: Sequence[int], address: int, *, space: str = "global", lanes: int = 1, lane: int = 0
) -> Tensor:
    """Return a tensor without gaps: row-major in global memory, row-major within each lane of local memory."""
    n, c, h, w = shape
    groups = -(-(lane + c) // lanes) if space == "local" else c
    size = BYTES[type]
    strides = (groups * h * w * size, h * w * size, w * size, size)
    return Tensor(space=space, type=type, lane=lane, address=address, shape=(n, c, h, w), strides=strides)


def shaped(shape: Sequence[int]) -> str:
    """Return a shape as text."""
    return "x".join(map(str, shape))
