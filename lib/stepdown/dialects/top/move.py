"""Ops that move elements without computing: the integers of a quantised tensor pass through unchanged."""

import math

import numpy as np

from stepdown.dialects.fields import Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import TopOp, top_op
from stepdown.dialects.types import Shape


class Move(TopOp):
    """An op whose results hold elements of its first operand (and constants)."""

    kind = Kind.MOVE


@top_op
class Reshape(Move):
    """The same elements under another shape. Source: ONNX Reshape, Flatten, Squeeze, Unsqueeze.

    C1: the shape has as many elements as the operand
    """

    shape = Ints()

    def shapes(self, input: Shape) -> list[Shape]:
        """Return `shape`."""
        self.require(math.prod(input) == math.prod(self.shape), "C1", f"{input} to {self.shape}")
        return [self.shape]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the reshaped operand."""
        return [input.reshape(self.shape)]


@top_op
class Transpose(Move):
    """Result dimension i is operand dimension order[i]. Source: ONNX Transpose.

    C1: order is a permutation of the operand's dimensions
    """

    order = Ints()

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the permuted shape."""
        self.require(sorted(self.order) == list(range(len(input))), "C1", f"{self.order} of {input}")
        return [tuple(input[i] for i in self.order)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the permuted operand."""
        return [np.ascontiguousarray(input.transpose(self.order))]
