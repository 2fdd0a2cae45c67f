"""Reductions: one value from all elements along some dimensions, the place of the extreme one, running sums."""

import math
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.fields import Bool, Int, Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, normalize_axes, top_op
from stepdown.dialects.types import Shape


class Reduce(TopOp):
    """A reduction over `axes` (none: all), which stay as 1 with keepdims: give `reduce`.

    C1: axes are different dimensions of the operand
    """

    kind = Kind.FLOAT
    axes = Ints(())
    keepdims = Bool(True)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [rng.uniform(0.5, 2, (2, 3, 4)).astype(np.float32)], {"axes": (0, -1)}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape with the reduced dimensions 1 or gone."""
        rank = len(input)
        inside = all(-rank <= axis < rank for axis in self.axes)
        self.require(inside and len({a % rank for a in self.axes}) == len(self.axes), "C1", f"{self.axes} of {input}")
        axes = self.axes_of(input)
        return [tuple(1 if i in axes else n for i, n in enumerate(input) if self.keepdims or i not in axes)]

    def axes_of(self, input: Shape) -> tuple[int, ...]:
        """Return the reduced dimensions counted from the front."""
        return normalize_axes(self.axes, len(input))

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the reduced operand in its type."""
        y = self.reduce(input, self.axes_of(input.shape))
        return [y.reshape(self.shapes(input.shape)[0]).astype(input.dtype, copy=False)]

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return x reduced over `axes`, which stay as 1."""
        raise NotImplementedError(self.name)


def total(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the sum over `axes` in the type of x; the axes stay as 1."""
    return np.asarray(x.sum(axis=axes, keepdims=True, dtype=x.dtype))


class Summed(Reduce):
    """A reduction made of sums, which integer code takes exactly."""

    kind = Kind.REDUCE

    def sums(self, input: np.ndarray) -> np.ndarray:
        """Return the sums in the type and shape of the result; exact for integers that the type can hold."""
        return total(input, self.axes_of(input.shape)).reshape(self.shapes(input.shape)[0])


@top_op
class ReduceSum(Summed):
    """The sum. Source: ONNX ReduceSum."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the sum."""
        return total(x, axes)


@top_op
class ReduceMean(Summed):
    """The mean; of integers, truncated towards 0. Source: ONNX ReduceMean."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the sum / the number of elements."""
        sums, count = total(x, axes), self.count(x.shape)
        return sums / x.dtype.type(count) if x.dtype.kind == "f" else (sums - np.fmod(sums, count)) // count

    def count(self, input: Shape) -> int:
        """Return the number of elements behind each result."""
        return math.prod(input[axis] for axis in self.axes_of(input))


class Extreme(Reduce):
    """The largest or smallest element; of truth values, or and and."""

    kind = Kind.REDUCE
    ufunc: ClassVar[np.ufunc]
    empty: ClassVar[float]

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the extreme element; of no elements at all, what every other one would replace."""
        if x.size:
            return np.asarray(self.ufunc.reduce(x, axis=axes, keepdims=True))
        limits = None if x.dtype.kind in "fb" else np.iinfo(x.dtype)
        empty = self.empty if limits is None else limits.min if self.empty < 0 else limits.max
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        return np.full(kept, empty > 0 if x.dtype.kind == "b" else empty, x.dtype)


@top_op
class ReduceMax(Extreme):
    """The largest element. Source: ONNX ReduceMax."""

    ufunc = np.maximum
    empty = -math.inf


@top_op
class ReduceMin(Extreme):
    """The smallest element. Source: ONNX ReduceMin."""

    ufunc = np.minimum
    empty = math.inf


@top_op
class ReduceProd(Reduce):
    """The product. Source: ONNX ReduceProd."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the product."""
        return np.asarray(x.prod(axis=axes, keepdims=True, dtype=x.dtype))


@top_op
class ReduceL1(Reduce):
    """Σ |x|. Source: ONNX ReduceL1."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the sum of magnitudes."""
        return total(np.abs(x), axes)


@top_op
class ReduceL2(Reduce):
    """√Σ x². Source: ONNX ReduceL2."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the Euclidean norm."""
        return np.sqrt(total(np.square(x), axes))


@top_op
class ReduceSumSquare(Reduce):
    """Σ x². Source: ONNX ReduceSumSquare."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the sum of squares."""
        return total(np.square(x), axes)


@top_op
class ReduceLogSum(Reduce):
    """ln Σ x. Source: ONNX ReduceLogSum."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the logarithm of the sum."""
        return np.log(total(x, axes))


@top_op
class ReduceLogSumExp(Reduce):
    """ln Σ e^x, without overflow. Source: ONNX ReduceLogSumExp."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Return the largest x + the logarithm of the sum of e^(x − largest)."""
        x = x if x.dtype.kind == "f" else x.astype(np.float64)
        largest = x.max(axis=axes, keepdims=True, initial=-math.inf)
        largest = np.where(np.isfinite(largest), largest, 0)
        return np.log(total(np.exp(x - largest), axes)) + largest


class Along(TopOp):
    """An op along one dimension.

    C1: axis is a dimension of the operand
    """

    kind = Kind.FLOAT

    def check_axis(self, axis: int, input: Shape) -> None:
        """Check that `axis` is a dimension of the operand."""
        self.require(-len(input) <= axis < len(input), "C1", f"axis {axis} of {input}")


class ArgReduce(Along):
    """The place of the extreme element along `axis`, the first or the last one of equals; int64."""

    axis = Int(0)
    keepdims = Bool(True)
    select_last_index = Bool(False)
    search: ClassVar[Any]

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [rng.integers(0, 4, (2, 5, 3)).astype(np.float32)], {"axis": 1}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape with the dimension 1 or gone."""
        self.check_axis(self.axis, input)
        axis = self.axis % len(input)
        return [(*input[:axis], *([1] if self.keepdims else []), *input[axis + 1 :])]

    def elements(self, count: int) -> list[str]:
        """The result is int64."""
        return ["i64"]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the places."""
        search = type(self).search
        if self.select_last_index:
            places = input.shape[self.axis] - 1 - search(np.flip(input, self.axis), self.axis)
        else:
            places = search(input, self.axis)
        return [np.asarray(places, np.int64).reshape(self.shapes(input.shape)[0])]


@top_op
class ArgMax(ArgReduce):
    """The place of the largest element. Source: ONNX ArgMax."""

    search = np.argmax


@top_op
class ArgMin(ArgReduce):
    """The place of the smallest element. Source: ONNX ArgMin."""

    search = np.argmin


class Cumulative(Along):
    """Running folds along `axis`, from the end with reverse, without the element itself with exclusive."""

    axis = Int()
    exclusive = Bool(False)
    reverse = Bool(False)
    ufunc: ClassVar[np.ufunc]

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return [rng.standard_normal((2, 5, 3)).astype(np.float32)], {"axis": 1, "exclusive": True}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.check_axis(self.axis, input)
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the running folds."""
        x = np.moveaxis(input, self.axis, 0)
        x = x[::-1] if self.reverse else x
        y = self.ufunc.accumulate(x, axis=0, dtype=x.dtype)
        if self.exclusive:
            y = np.concatenate([np.full_like(y[:1], self.ufunc.identity), y[:-1]])
        y = y[::-1] if self.reverse else y
        return [np.ascontiguousarray(np.moveaxis(y, 0, self.axis))]


@top_op
class CumSum(Cumulative):
    """Running sums. Source: ONNX CumSum."""

    ufunc = np.add


@top_op
class CumProd(Cumulative):
    """Running products. Source: ONNX CumProd."""

    ufunc = np.multiply
