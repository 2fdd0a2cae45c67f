"""The instructions of the DMA engine. Operands lie in either memory."""

# ruff: noqa: RUF009  # defaults are declarations of fields, made once

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

from stepdown.npu.isa.command import DMA, Command, instruction
from stepdown.npu.isa.fields import number, part, word
from stepdown.npu.isa.tensor import Tensor

ORDERS = tuple("".join(order) for order in permutations("nchw"))


@dataclass(frozen=True, kw_only=True, slots=True)
class DmaCommand(Command):
    """What the commands of the DMA engine share."""

    result: ClassVar[str] = "target"


@instruction(0x41, "move", DMA)
@dataclass(frozen=True, kw_only=True, slots=True)
class Move(DmaCommand):
    """Elements copied: the source, walked in some order of its dimensions, fills the target in the order n, c, h, w.

    Strides make slices, concatenations, repetitions and interleaving; orders make transpositions; different shapes
    make reshapes. Source and target must not overlap.

    I1: both have as many elements, of the same number of bytes
    """

    source: Tensor = part("what is copied")
    target: Tensor = part("where to")
    order: str = word("the dimensions of the source, the slowest first", *ORDERS, default="nchw")

    def check(self) -> None:
        """Check all constraints."""
        super(Move, self).check()
        self.require(self.source.elements == self.target.elements, "the numbers of elements differ (I1)")
        self.require(self.source.element_bytes == self.target.element_bytes, "the sizes of elements differ (I1)")


@instruction(0x42, "fill", DMA)
@dataclass(frozen=True, kw_only=True, slots=True)
class Fill(DmaCommand):
    """Every element set to one value.

    I1: the value fits an element
    """

    target: Tensor = part("what is filled")
    value: int = number("u32", "", "the bits of the value", 0)

    def check(self) -> None:
        """Check all constraints."""
        super(Fill, self).check()
        self.require(self.value < 1 << 8 * self.target.element_bytes, f"the value {self.value:#x} (I1)")


@instruction(0x43, "gather", DMA)
@dataclass(frozen=True, kw_only=True, slots=True)
class Gather(DmaCommand):
    """Rows picked by number: target[n, c, i, w] = source[n, c, index[0, 0, i, 0], w].

    I1: the index is i32 [1, 1, h of the target, 1]; source and target agree in n, c, w and the bytes of an element
    I2 (when it runs): every index is at least 0 and less than the source's h
    """

    source: Tensor = part("the rows to pick from")
    index: Tensor = part("which rows")
    target: Tensor = part("the picked rows")

    def check(self) -> None:
        """Check all constraints."""
        super(Gather, self).check()
        good = self.index.type == "i32" and self.index.shape == (1, 1, self.target.shape[2], 1)
        self.require(good, f"the index is {self.index.type} {list(self.index.shape)} (I1)")
        agree = all(self.source.shape[at] == self.target.shape[at] for at in (0, 1, 3))
        self.require(agree and self.source.element_bytes == self.target.element_bytes, "the rows differ in size (I1)")
