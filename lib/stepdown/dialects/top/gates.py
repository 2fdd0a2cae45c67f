"""The functions that gates of recurrent layers go through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stepdown.dialects.top.activation import expm1_negative, logistic

Function = Callable[[np.ndarray, float, float], np.ndarray]

GATE_FUNCTIONS: dict[str, Function] = {
    "Affine": lambda x, a, b: a * x + b,
    "Elu": lambda x, a, b: np.maximum(x, 0) + a * expm1_negative(np.minimum(x, 0)),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "LeakyRelu": lambda x, a, b: np.where(x < 0, a * x, x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "Sigmoid": lambda x, a, b: logistic(x),
    "Softplus": lambda x, a, b: np.logaddexp(x, 0),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Tanh": lambda x, a, b: np.tanh(x),
    "ThresholdedRelu": lambda x, a, b: np.where(x > a, x, 0),
}
"""By name, a function of x, alpha and beta. Source: ONNX RNN-22."""


@dataclass(frozen=True)
class Gate:
    """A gate function with its parameters; `clip` bounds the magnitude of its operand, 0 is no bound."""

    name: str
    alpha: float
    beta: float
    clip: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the function of every element, in the type of x."""
        bounded = np.clip(x, -self.clip, self.clip) if self.clip > 0 else x
        return GATE_FUNCTIONS[self.name](bounded, self.alpha, self.beta).astype(x.dtype, copy=False)
