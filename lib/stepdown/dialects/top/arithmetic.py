"""Elementwise functions of two or more tensors, broadcast as in numpy."""

from functools import reduce

import numpy as np

from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Fused, broadcast, top_op
from stepdown.dialects.types import Shape


class Eltwise(Fused):
    """A function of tensors that are broadcast against each other: give `function`.

    C1: the operands can be broadcast to one shape
    """

    kind = Kind.ELTWISE
    inputs = ("a", "b")

    def shapes(self, *inputs: Shape) -> list[Shape]:
        """Return the broadcast shape."""
        try:
            return [broadcast(*inputs)]
        except ValueError:
            self.require(False, "C1", " and ".join(map(str, inputs)))
            raise

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Fold `function` over the operands, in their type."""
        y = reduce(self.function, inputs)
        return [self.activate(np.asarray(y).astype(inputs[0].dtype, copy=len(inputs) == 1))]

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the function of two operands."""
        raise NotImplementedError(self.name)


@top_op
class Add(Eltwise):
    """a + b + … Source: ONNX Add, Sum."""

    inputs = ("a", "b*")

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a + b."""
        return np.add(a, b)


@top_op
class Mul(Eltwise):
    """a × b. Source: ONNX Mul."""

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a × b."""
        return np.multiply(a, b)
