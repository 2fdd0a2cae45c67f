"""Copies of a tensor in another order of its dimensions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepdown.native.kernels.spread import spread
from stepdown.native.machine import Machine
from stepdown.native.tensors import Tensor
from stepdown.native.tir import Expr, Function, const


class Reordering:
    """A copy of `source` that lies as `target`; no op of the program, so it has no constants."""

    def __init__(self, source: Tensor, target: Tensor, machine: Machine) -> None:
        self.tensors, self.results, self.machine = [source], [target], machine
        self.scratch: tuple[str, int] | None = None

    def constants(self) -> dict[str, np.ndarray]:
        """Return no arrays."""
        return {}

    def function(self, name: str, constants: Mapping[str, np.ndarray]) -> Function:
        """Return the code as a function of pointers; there are no `constants`."""
        f = Function(name, self.machine.shares)
        (source,), (target,) = self.tensors, self.results
        x, y = f.argument("x0", source.dtype, source.elements), f.argument("y0", target.dtype, target.elements)
        if source.block > 1 or target.block > 1:
            self._blocks(f, x, y)
            return f
        steps = [[t.strides[at] for at in target.order] for t in (source, target)]
        spread(f, target.stored_shape, steps, self.machine.register_bytes, lambda at: f.store(y, at[1], x[at[0]]))
        return f

    def _blocks(self, f: Function, x: Any, y: Any) -> None:
        """Copy between an order and one in blocks: the whole blocks, then the last one, whose rest is filled with 0."""
        (source,), (target,) = self.tensors, self.results
        block, channels = max(source.block, target.block), source.shape[1]
        whole, rest = divmod(channels, block)
        for first, blocks, width in ((0, whole, block), (whole, 1, rest)):
            sizes = [source.shape[0], blocks, *source.shape[2:], width]
            begin = [first * _strides(t, block)[1] for t in (source, target)]
            steps = [_strides(t, block) for t in (source, target)]

            def one(at: list[Expr], begin: list[int] = begin) -> None:
                f.store(y, at[1] + begin[1], x[at[0] + begin[0]])

            if blocks and width:
                spread(f, sizes, steps, self.machine.register_bytes, one)
        if target.block > 1 and rest:
            strides = _strides(target, block)
            begin_rest = whole * strides[1] + rest

            def fill(at: list[Expr]) -> None:
                f.store(y, at[0] + begin_rest, const(0, target.dtype))

            sizes = [source.shape[0], 1, *source.shape[2:], block - rest]
            spread(f, sizes, [strides], self.machine.register_bytes, fill)


def _strides(tensor: Tensor, block: int) -> list[int]:
    """Return the elements from one to the next in [N, C / block, *S, block]."""
    if tensor.block == 1:
        batch, channel, *space = tensor.strides
        return [batch, channel * block, *space, channel]
    steps = [1, block]
    for size in reversed(tensor.shape[2:]):
        steps.append(steps[-1] * size)
    *inner, plane = steps
    return [plane * -(-tensor.shape[1] // block), plane, *reversed(inner[1:]), 1]
