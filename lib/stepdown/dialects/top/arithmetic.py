"""Elementwise functions of two or more tensors, broadcast as in numpy."""

from functools import reduce
from typing import ClassVar

import numpy as np

from stepdown.dialects.fields import Bool, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, Fused, TopOp, broadcast, top_op
from stepdown.dialects.types import Shape


class Broadcast(TopOp):
    """A function of tensors that are broadcast against each other: give `ufunc`, or `function`.

    C1: the operands can be broadcast to one shape
    """

    kind = Kind.FLOAT
    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    ufunc: ClassVar[np.ufunc]

    def shapes(self, *inputs: Shape) -> list[Shape]:
        """Return the broadcast shape."""
        try:
            return [broadcast(*inputs)]
        except ValueError:
            self.require(False, "C1", " and ".join(map(str, inputs)))
            raise

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Fold `function` over the operands, in the type of the first."""
        return [np.asarray(reduce(self.function, inputs)).astype(inputs[0].dtype, copy=False)]

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the function of two operands."""
        return np.asarray(self.ufunc(a, b))


class Eltwise(Broadcast, Fused):
    """A broadcast function that has integer arithmetic of its own; it may carry a ReLU."""

    kind = Kind.ELTWISE

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Fold `function` over the operands, then apply the fused ReLU."""
        return [self.activate(super().compute(*inputs)[0])]


def pair(rng: np.random.Generator) -> Example:
    """Return two operands that are broadcast and not near 0, for the tests that run over the registry."""
    return [rng.uniform(0.5, 2, (2, 3, 4)).astype(np.float32), rng.uniform(0.5, 2, (3, 1)).astype(np.float32)], {}


@top_op
class Add(Eltwise):
    """a + b + … Source: ONNX Add, Sum."""

    inputs = ("a", "b*")
    ufunc = np.add
    example = staticmethod(pair)


@top_op
class Sub(Eltwise):
    """a − b. Source: ONNX Sub."""

    ufunc = np.subtract
    example = staticmethod(pair)


@top_op
class Mul(Eltwise):
    """a × b. Source: ONNX Mul."""

    ufunc = np.multiply
    example = staticmethod(pair)


@top_op
class Max(Eltwise):
    """The largest of a, b, … Source: ONNX Max."""

    inputs = ("a", "b*")
    ufunc = np.maximum
    example = staticmethod(pair)


@top_op
class Min(Eltwise):
    """The smallest of a, b, … Source: ONNX Min."""

    inputs = ("a", "b*")
    ufunc = np.minimum
    example = staticmethod(pair)


@top_op
class Div(Broadcast):
    """a / b; integers are truncated towards 0. Source: ONNX Div."""

    example = staticmethod(pair)

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the quotient."""
        if a.dtype.kind == "f":
            return np.divide(a, b)
        return np.floor_divide(a - np.fmod(a, b), b)


@top_op
class Pow(Broadcast):
    """a^b in the type of a. Source: ONNX Pow."""

    example = staticmethod(pair)

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the power; integers go through float64 where an exponent is negative."""
        inverse = a.dtype.kind != "f" and b.dtype.kind == "i" and bool((b < 0).any())
        return np.power(a.astype(np.float64) if inverse else a, b)


@top_op
class Mod(Broadcast):
    """The remainder of a / b: with the sign of b, or with fmod with the sign of a, as in C. Source: ONNX Mod."""

    fmod = Bool(False)
    example = staticmethod(pair)

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the remainder."""
        return np.fmod(a, b) if self.fmod else np.mod(a, b)


@top_op
class SquaredDifference(Broadcast):
    """(a − b)². Source: TFLite SQUARED_DIFFERENCE."""

    example = staticmethod(pair)

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the squared difference."""
        return np.square(a - b)


@top_op
class PRelu(Broadcast):
    """a where positive, slope·a elsewhere. Source: ONNX PRelu.

    C2: the slope is broadcast to the shape of the input
    """

    inputs = ("input", "slope")
    example = staticmethod(pair)

    def shapes(self, *inputs: Shape) -> list[Shape]:
        """Return the shape of the input."""
        shape = super().shapes(*inputs)
        self.require(shape == [inputs[0]], "C2", f"{inputs[1]} to {inputs[0]}")
        return shape

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return max(a, 0) + b·min(a, 0)."""
        y = np.minimum(a, 0) * b
        y += np.maximum(a, 0)
        return y


@top_op
class BitShift(Broadcast):
    """Integers a shifted by b bits; a right shift keeps the sign. Source: ONNX BitShift."""

    direction = Str(choices=("LEFT", "RIGHT"))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return [rng.integers(0, 9, (2, 3)).astype(np.uint8), np.array([1, 2, 9], np.uint8)], {"direction": "LEFT"}

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the shifted bits; none are left of a shift by the width or more."""
        return (np.left_shift if self.direction == "LEFT" else np.right_shift)(a, b)
