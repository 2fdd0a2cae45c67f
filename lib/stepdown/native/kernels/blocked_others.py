"""What beside convolutions can be done on channels in blocks: pools, and ops that are the same at every element."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stepdown.dialects.types import shape_of
from stepdown.native.effort import BLOCKED, FROM_BLOCKS
from stepdown.native.kernels.base import Buffers, Kernel, kernel
from stepdown.native.kernels.convert import Conversion
from stepdown.native.kernels.elementwise import Elementwise, Multiplication, Pick, Rescaling, Sum, Table
from stepdown.native.kernels.floating import FUNCTIONS, FloatElementwise
from stepdown.native.kernels.image import along
from stepdown.native.kernels.pool import AveragePooling, FloatAveragePooling, FloatMaxPooling, MaxPooling, Pool
from stepdown.native.tensors import Order, Tensor, blocked, channels_last, is_blocked
from stepdown.native.tir import Expr, Function


class BlockedPool(Pool):
    """A pool whose images are those of one block of channels each; mixed in front of a pool that says which."""

    order = BLOCKED
    levels = FROM_BLOCKS

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return that image and result lie in blocks."""
        order = blocked(len(shape_of(self.op.results[0])), self.machine.lanes)
        return [order], [order]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write the pool over as many images as there are blocks."""
        of_blocks = copy.copy(self)
        of_blocks.tensors = [_images(t) for t in self.tensors]
        of_blocks.results = [_images(t) for t in self.results]
        super(BlockedPool, of_blocks).write(f, inputs, results, constants)


def _images(tensor: Tensor) -> Tensor:
    """Return a tensor in blocks as images of one block each, channels last."""
    batch, channels, *size = tensor.shape
    shape = (batch * -(-channels // tensor.block), tensor.block, *size)
    return replace(tensor, shape=shape, order=channels_last(len(shape)))


class BlockedElementwise(Elementwise):
    """An op over tensors of one shape, element by element as they lie; mixed in front of one that says which."""

    order = BLOCKED
    levels = FROM_BLOCKS

    def check(self) -> None:
        """Refuse operands of another shape than the result's, and tensors without spatial dimensions."""
        shape = shape_of(self.op.results[0])
        if len(shape) < 3 or any(shape_of(v) != shape for v in self.sides):
            raise self.refuse("broadcasts, or has no images")
        if len(self.inputs) != len(self.sides):
            raise self.refuse("has constant operands")
        super().check()

    def wanted(self, orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
        """Return that all lie in blocks where an operand does; else all as the first one does."""
        found = next((order for order in orders if is_blocked(order)), None)
        if found is None:
            return super().wanted(orders)
        return [found for _ in orders], [found]

    def write(self, f: Function, inputs: Sequence[Any], results: Sequence[Any], constants: Buffers) -> None:
        """Write one loop over all elements, those that fill blocks up among them."""
        if not is_blocked(self.results[0].order):
            super().write(f, inputs, results, constants)
            return

        def one(i: Expr) -> None:
            f.store(results[0], i, self.element([x[i] for x in inputs], constants))

        along(f, self.results[0].elements, max(4, 2 * self.machine.lanes), one, True)


def _register(names: Sequence[str], mixed: type[Kernel], *classes: type[Kernel]) -> None:
    """Make kernels of classes with another one mixed in in front."""
    for cls in classes:
        made = type(f"Blocked{cls.__name__}", (mixed, cls), {"__doc__": f"{cls.__doc__} In blocks of channels."})
        kernel(*names)(made)


_register(("MaxPool",), BlockedPool, MaxPooling, FloatMaxPooling)
_register(("AveragePool",), BlockedPool, AveragePooling, FloatAveragePooling)
_register(("Add", "Sub"), BlockedElementwise, Sum)
_register(("Mul",), BlockedElementwise, Multiplication)
_register(("Max", "Min"), BlockedElementwise, Pick)
_register(("Rescale",), BlockedElementwise, Rescaling)
_register(("Lut",), BlockedElementwise, Table)
_register(("Convert",), BlockedElementwise, Conversion)
_register(tuple(FUNCTIONS), BlockedElementwise, FloatElementwise)
