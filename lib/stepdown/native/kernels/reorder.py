"""Copies of a tensor in another order of its dimensions."""

import numpy as np

from stepdown.native.kernels.spread import spread
from stepdown.native.machine import Machine
from stepdown.native.tensors import Tensor
from stepdown.native.tir import Function


class Reordering:
    """A copy of `source` that lies as `target`; no op of the program, so it has no constants."""

    def __init__(self, source: Tensor, target: Tensor, machine: Machine) -> None:
        self.tensors, self.results, self.machine = [source], [target], machine
        self.scratch: tuple[str, int] | None = None

    def constants(self) -> dict[str, np.ndarray]:
        """Return no arrays."""
        return {}

    def function(self, name: str) -> Function:
        """Return the code as a function of pointers."""
        f = Function(name, self.machine.shares)
        (source,), (target,) = self.tensors, self.results
        x, y = f.argument("x0", source.dtype, source.elements), f.argument("y0", target.dtype, target.elements)
        steps = [[t.strides[at] for at in target.order] for t in (source, target)]
        spread(f, target.stored_shape, steps, self.machine.register_bytes, lambda at: f.store(y, at[1], x[at[0]]))
        return f
