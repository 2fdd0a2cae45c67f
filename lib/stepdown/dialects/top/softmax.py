"""Distributions along a dimension."""

import numpy as np

from stepdown.dialects.fields import Bool, Int
from stepdown.dialects.op import Arrays
from stepdown.dialects.top.base import Example, top_op
from stepdown.dialects.top.reduce import Along
from stepdown.dialects.types import Shape


class Distribution(Along):
    """A distribution along `axis`, with flat along that and all later dimensions together: give `function`."""

    axis = Int(-1)
    flat = Bool(False)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [rng.standard_normal((2, 5, 3)).astype(np.float32)], {"axis": 1}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.check_axis(self.axis, input)
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Apply `function` along the axis."""
        if not self.flat:
            return [self.function(input, self.axis)]
        rows = input.reshape(*input.shape[: self.axis % input.ndim], -1)
        return [self.function(rows, -1).reshape(input.shape)]

    def function(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the distribution along one axis."""
        raise NotImplementedError(self.name)


@top_op
class Softmax(Distribution):
    """e^x / Σ e^x, without overflow. Source: ONNX Softmax."""

    probability = True

    def function(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the probabilities."""
        y = x - x.max(axis=axis, keepdims=True)
        np.exp(y, out=y)
        y /= y.sum(axis=axis, keepdims=True)
        return y


@top_op
class LogSoftmax(Distribution):
    """x − ln Σ e^x, without overflow. Source: ONNX LogSoftmax."""

    def function(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the logarithms of the probabilities."""
        y = x - x.max(axis=axis, keepdims=True)
        y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
        return y


@top_op
class Hardmax(Distribution):
    """1 at the first largest element, 0 elsewhere. Source: ONNX Hardmax."""

    def function(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the indicator."""
        y = np.zeros_like(x)
        np.put_along_axis(y, np.argmax(x, axis=axis, keepdims=True), 1, axis=axis)
        return y
