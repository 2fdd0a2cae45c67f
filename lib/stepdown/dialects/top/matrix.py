"""Functions of whole matrices."""

import numpy as np

from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape


@top_op
class Det(TopOp):
    """The determinant of the square matrices in the last two dimensions. Source: ONNX Det.

    C1: the last two dimensions are equal
    """

    kind = Kind.FLOAT

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 3))], {}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the operand's shape without its last two dimensions."""
        self.require(len(input) >= 2 and input[-1] == input[-2], "C1", f"{input}")
        return [input[:-2]]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the determinants, computed in float64."""
        return [np.asarray(np.linalg.det(input.astype(np.float64))).astype(input.dtype)]
