"""An op of two tensors of one shape, made of each result of a kernel as it is stored: the result itself never is."""

from dataclasses import dataclass
from typing import Any

from stepdown.native.kernels.base import Buffers
from stepdown.native.kernels.elementwise import Elementwise
from stepdown.native.tensors import Tensor
from stepdown.native.tir import Expr, cast

OTHER = "other"
"""The name of its other operand among the buffers of a kernel."""


@dataclass(frozen=True)
class Joined:
    """The op, by its kernel; which of its operands is made here; the other one, and what comes of both.

    All three lie in one order, so that one index is the same place in each. `in_place`: the result takes the other
    operand's memory, of which each element is read once, right before it is written.
    """

    kernel: Elementwise
    side: int
    other: Tensor
    result: Tensor
    in_place: bool = False

    def element(self, made: Expr, place: Expr, constants: Buffers) -> Expr:
        """Return what is stored at a place of the result, given what the kernel makes there."""
        other: Any = constants[OTHER][place]
        if self.in_place and self.other.dtype != self.result.dtype:
            other = cast(self.other.dtype, other)
        return self.kernel.element([made, other] if self.side == 0 else [other, made], constants)
