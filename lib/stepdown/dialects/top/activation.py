"""Elementwise functions of one tensor. INT8 lowering turns each into a 256-entry table made from `function`."""

import numpy as np

from stepdown.dialects.fields import Float
from stepdown.dialects.top.base import Unary, top_op


@top_op
class Relu(Unary):
    """max(x, 0), and min(x, relu_limit) where that is not negative. Source: ONNX Relu, Clip."""

    relu_limit = Float(-1.0)
    monotonic = True

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x clipped."""
        return np.clip(x, 0, self.relu_limit if self.relu_limit >= 0 else None)


@top_op
class Clip(Unary):
    """x clipped to [min, max]. Source: ONNX Clip."""

    min = Float(-float("inf"))
    max = Float(float("inf"))
    monotonic = True

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x clipped."""
        return np.minimum(np.maximum(x, x.dtype.type(self.min)), x.dtype.type(self.max))


@top_op
class Sigmoid(Unary):
    """1 / (1 + e^−x), without overflow on either side. Source: ONNX Sigmoid."""

    domain = (-8.0, 8.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the logistic function."""
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e))
