"""Elementwise functions of one tensor. INT8 lowering turns each into a 256-entry table made from `function`.

Sums of min(x, 0) and max(x, 0) stand where numpy.where would do, and results are built up in place: so they run at
memory speed.
"""

import math

import numpy as np

from stepdown.dialects.fields import Float, Str
from stepdown.dialects.top.base import Unary, top_op
from stepdown.numerics.erf import erf


def logistic(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^−x) without overflow."""
    e = np.exp(np.minimum(-x, math.log(np.finfo(x.dtype).max) - 1))
    e += 1
    return np.reciprocal(e)


def expm1_negative(x: np.ndarray) -> np.ndarray:
    """Return e^x − 1 for x ≤ 0 as 2t / (1 − t), t = tanh(x / 2): exact, and five times as fast as numpy's."""
    t = np.tanh(x * 0.5)
    rest = 1 - t
    t *= 2
    t /= rest
    return t


@top_op
class Relu(Unary):
    """max(x, 0), and min(x, relu_limit) where that is not negative. Source: ONNX Relu, Clip."""

    relu_limit = Float(-1.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x clipped."""
        unlimited = math.inf if x.dtype.kind == "f" else None  # one pass with an infinite bound is the faster one
        return np.clip(x, 0, self.relu_limit if self.relu_limit >= 0 else unlimited)


@top_op
class Clip(Unary):
    """x clipped to [min, max]; max where min > max. Source: ONNX Clip."""

    min = Float(-math.inf)
    max = Float(math.inf)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x clipped."""
        return np.clip(x, self.min, self.max)


@top_op
class Sigmoid(Unary):
    """1 / (1 + e^−x). Source: ONNX Sigmoid."""

    domain = (-8.0, 8.0)
    probability = True

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the logistic function."""
        return logistic(x)


@top_op
class Celu(Unary):
    """x where positive, alpha·(e^(x / alpha) − 1) elsewhere. Source: ONNX Celu."""

    alpha = Float(1.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return max(0, x) + min(0, alpha·(e^(x / alpha) − 1))."""
        with np.errstate(over="ignore"):
            return np.maximum(x, 0) + np.minimum(self.alpha * np.expm1(x / self.alpha), 0)


@top_op
class Elu(Unary):
    """x where positive, alpha·(e^x − 1) elsewhere. Source: ONNX Elu."""

    alpha = Float(1.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the exponential linear unit."""
        y = expm1_negative(np.minimum(x, 0))
        y *= self.alpha
        y += np.maximum(x, 0)
        return y


@top_op
class Erf(Unary):
    """2/√π · ∫₀ˣ e^(−t²) dt. Source: ONNX Erf."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the error function."""
        return erf(x)


@top_op
class Gelu(Unary):
    """x·Φ(x), Φ the normal distribution; or its approximation by tanh. Source: ONNX Gelu."""

    approximate = Str("none", choices=("none", "tanh"))

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x/2·(1 + erf(x / √2)), or x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
        if self.approximate == "none":
            y = erf(x * math.sqrt(0.5))
        else:
            y = x * x
            y *= 0.044715
            y += 1
            y *= x
            y *= math.sqrt(2 / math.pi)
            y = np.tanh(y)
        y += 1
        y *= x
        y *= 0.5
        return y


@top_op
class HardSigmoid(Unary):
    """alpha·x + beta clipped to [0, 1]. Source: ONNX HardSigmoid."""

    alpha = Float(0.2)
    beta = Float(0.5)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the clipped line."""
        y = x * self.alpha
        y += self.beta
        return np.clip(y, 0, 1)


@top_op
class HardSwish(Unary):
    """x · min(max(x + 3, 0), 6) / 6. Source: ONNX HardSwish."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x times its hard sigmoid."""
        y = np.clip(x + 3, 0, 6)
        y *= x
        y /= 6
        return y


@top_op
class LeakyRelu(Unary):
    """x where positive, alpha·x elsewhere. Source: ONNX LeakyRelu."""

    alpha = Float(0.01)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return max(x, 0) + alpha·min(x, 0)."""
        y = np.minimum(x, 0)
        y *= self.alpha
        y += np.maximum(x, 0)
        return y


@top_op
class PowScalar(Unary):
    """x^exponent. Source: ONNX Pow with a constant scalar exponent."""

    exponent = Float(2.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the power."""
        return x**self.exponent


@top_op
class Mish(Unary):
    """x·tanh(ln(1 + e^x)). Source: ONNX Mish."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x·tanh(softplus(x))."""
        return x * np.tanh(np.logaddexp(0, x))


@top_op
class Selu(Unary):
    """gamma·x where positive, gamma·alpha·(e^x − 1) elsewhere. Source: ONNX Selu."""

    alpha = Float(1.6732631921768188)
    gamma = Float(1.0507010221481323)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the scaled exponential linear unit."""
        y = expm1_negative(np.minimum(x, 0))
        y *= self.alpha
        y += np.maximum(x, 0)
        y *= self.gamma
        return y


@top_op
class Shrink(Unary):
    """x + bias where x < −lambd, x − bias where x > lambd, else 0. Source: ONNX Shrink."""

    bias = Float(0.0)
    lambd = Float(0.5)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x shrunk towards 0."""
        return np.where(x < -self.lambd, x + self.bias, np.where(x > self.lambd, x - self.bias, 0))


@top_op
class Softplus(Unary):
    """ln(1 + e^x). Source: ONNX Softplus."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return max(x, 0) + ln(1 + e^−|x|), with a correction for what 1 + e rounds away."""
        e = np.exp(-np.abs(x))
        u = e + 1
        y = np.log(u)
        u -= 1
        e -= u
        u += 1
        e /= u
        y += e
        y += np.maximum(x, 0)
        return y


@top_op
class Softsign(Unary):
    """x / (1 + |x|). Source: ONNX Softsign."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the quotient."""
        return x / (1 + np.abs(x))


@top_op
class Swish(Unary):
    """x / (1 + e^(−alpha·x)); with alpha 1 also called SiLU. Source: ONNX Swish."""

    alpha = Float(1.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x times the logistic function of alpha·x."""
        y = logistic(x * self.alpha)
        y *= x
        return y


@top_op
class ThresholdedRelu(Unary):
    """x where x > alpha, else 0. Source: ONNX ThresholdedRelu."""

    alpha = Float(1.0)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return x where it is above the threshold."""
        return np.where(x > self.alpha, x, 0)
