"""Comparisons, logical and bitwise functions, and selection. Boolean tensors are stored as i1."""

from collections.abc import Callable

import numpy as np

from stepdown.dialects.fields import Bool, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.arithmetic import Broadcast, pair
from stepdown.dialects.top.base import Example, Unary, top_op
from stepdown.dialects.types import storage_of

Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]

COMPARISONS: dict[str, Binary] = {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}
BITWISE: dict[str, Binary] = {"And": np.bitwise_and, "Or": np.bitwise_or, "Xor": np.bitwise_xor}


@top_op
class Compare(Broadcast):
    """Whether a and b stand in the relation `mode`. Source: ONNX Equal, Greater, GreaterOrEqual, Less, LessOrEqual."""

    mode = Str(choices=tuple(COMPARISONS))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return pair(rng)[0], {"mode": "Less"}

    def elements(self, count: int) -> list[str]:
        """The result is boolean."""
        return ["i1"]

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the truth values."""
        return [np.asarray(COMPARISONS[self.mode](*inputs))]


@top_op
class Bitwise(Broadcast):
    """And, or, exclusive or of truth values or of the bits of integers. Source: ONNX And, Or, Xor, BitwiseAnd, ….

    C2: the operands are truth values or integers
    """

    mode = Str(choices=tuple(BITWISE))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return [rng.integers(0, 9, (2, 3)).astype(np.int32), rng.integers(0, 9, 3).astype(np.int32)], {"mode": "Xor"}

    def elements(self, count: int) -> list[str]:
        """The result has the type of the operands."""
        kinds = [storage_of(v) for v in self.operands]
        self.require(all(kind[0] in "iu" for kind in kinds), "C2", ", ".join(kinds))
        return kinds[:1]

    def function(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the combined bits."""
        return BITWISE[self.mode](a, b)


@top_op
class Not(Unary):
    """The opposite truth value, or all bits of an integer inverted. Source: ONNX Not, BitwiseNot.

    C1: the operand holds truth values or integers
    """

    kind = Kind.FLOAT

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [rng.integers(0, 2, (2, 3)).astype(np.bool_)], {}

    def elements(self, count: int) -> list[str]:
        """The result has the type of the operand."""
        kind = storage_of(self.operands[0])
        self.require(kind[0] in "iu", "C1", kind)
        return [kind]

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the inverted bits."""
        return np.invert(x)


class Predicate(Unary):
    """A property that each element has or has not: give `function`."""

    kind = Kind.FLOAT

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [np.array([[0, np.inf, 1], [-np.inf, np.nan, -2]], np.float32)], {}

    def elements(self, count: int) -> list[str]:
        """The result is boolean."""
        return ["i1"]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the truth values."""
        return [np.asarray(self.function(input))]


@top_op
class IsNaN(Predicate):
    """Whether x is not a number. Source: ONNX IsNaN."""

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the truth values."""
        return np.isnan(x)


@top_op
class IsInf(Predicate):
    """Whether x is infinite, of the signs asked for. Source: ONNX IsInf."""

    detect_negative = Bool(True)
    detect_positive = Bool(True)

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the truth values."""
        signs = (x < 0) & self.detect_negative | (x > 0) & self.detect_positive
        return np.isinf(x) & signs


@top_op
class Where(Broadcast):
    """a where the condition holds, else b. Source: ONNX Where.

    C2: the condition is boolean
    """

    inputs = ("condition", "a", "b")

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return [rng.integers(0, 2, (3, 1)).astype(np.bool_), *pair(rng)[0]], {}

    def elements(self, count: int) -> list[str]:
        """The result has the type of a."""
        condition = storage_of(self.operands[0])
        self.require(condition == "i1", "C2", condition)
        return [storage_of(self.operands[1])]

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the chosen elements."""
        condition, a, b = inputs
        return [np.where(condition, a, b)]
