"""Ops that read or write at places that another tensor names: i32 or i64, negative ones count from the end."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stepdown.dialects.fields import Bool, Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.top.move import Move
from stepdown.dialects.types import Shape, storage_of

# What a scatter does where an element is there already; the functions work in place and take an element twice.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


@top_op
class Gather(Move):
    """The slices input[…, indices, …] along `axis`. Source: ONNX Gather.

    C1: axis counts from the front and is within the operand
    """

    inputs = ("input", "indices")
    axis = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 5, 3)), np.array([[0, -1], [3, 3]])], {"axis": 1}

    def shapes(self, input: Shape, indices: Shape) -> list[Shape]:
        """Return the operand's shape with that of the indices in the place of `axis`."""
        self.require(0 <= self.axis < len(input), "C1", f"axis {self.axis} of {input}")
        return [(*input[: self.axis], *indices, *input[self.axis + 1 :])]

    def compute(self, input: np.ndarray, indices: np.ndarray) -> Arrays:
        """Return the slices."""
        return [np.asarray(np.take(input, indices, self.axis))]


@top_op
class GatherElements(Move):
    """For every place of `indices`, the element there but for its position along `axis`. Source: ONNX GatherElements.

    C1: axis counts from the front and is within the operand
    C2: indices has the operand's rank and is nowhere larger but along axis
    """

    inputs = ("input", "indices")
    axis = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(3, 4)), rng.integers(-4, 4, (2, 6))], {"axis": 1}

    def shapes(self, input: Shape, indices: Shape) -> list[Shape]:
        """Return the shape of the indices."""
        _check_elementwise(self, input, indices, self.axis)
        return [indices]

    def compute(self, input: np.ndarray, indices: np.ndarray) -> Arrays:
        """Return the elements."""
        return [input[_places(indices, self.axis)]]


@top_op
class GatherND(Move):
    """The slices input[b…, i…] for every row i of `indices` within a batch b. Source: ONNX GatherND.

    C1: the first batch_dims dimensions of both operands are the same
    C2: the rows of the indices are 1 to as many long as the operand has other dimensions
    """

    inputs = ("input", "indices")
    batch_dims = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4)), np.array([[[0], [2]], [[-1], [1]]])], {"batch_dims": 1}

    def shapes(self, input: Shape, indices: Shape) -> list[Shape]:
        """Return the shape of the indices, a slice in the place of each row."""
        b = self.batch_dims
        self.require(0 <= b < len(indices) and input[:b] == indices[:b], "C1", f"{input}, {indices}")
        self.require(0 < indices[-1] <= len(input) - b, "C2", f"{input}, {indices}")
        return [(*indices[:-1], *input[b + indices[-1] :])]

    def compute(self, input: np.ndarray, indices: np.ndarray) -> Arrays:
        """Return the slices."""
        b = self.batch_dims
        grid = np.meshgrid(*map(np.arange, indices.shape[:b]), indexing="ij", sparse=True)
        batch = [g.reshape(*g.shape, *([1] * (indices.ndim - 1 - b))) for g in grid]
        return [np.asarray(input[(*batch, *np.moveaxis(indices, -1, 0))])]


class Scatter(TopOp):
    """A copy of the first operand with `updates` written, or combined, at the places that `indices` names."""

    kind = Kind.FLOAT
    inputs = ("input", "indices", "updates")
    reduction = Str("none", ("none", *REDUCTIONS))

    def write(self, input: np.ndarray, place: tuple[Any, ...], updates: np.ndarray) -> Arrays:
        """Return the changed copy."""
        out = input.copy()
        if self.reduction == "none":
            out[place] = updates
        else:
            REDUCTIONS[self.reduction](out, place, updates)
        return [out]


@top_op
class ScatterElements(Scatter):
    """For every place of `indices`, the update goes there but for its position along `axis`.

    Source: ONNX ScatterElements.

    C1: axis counts from the front and is within the operand
    C2: indices has the operand's rank and is nowhere larger but along axis
    C3: there is one update an index
    """

    axis = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(3, 4)), np.array([[1, 0, -1]]), rng.normal(size=(1, 3))], {
            "axis": 1,
            "reduction": "add",
        }

    def shapes(self, input: Shape, indices: Shape, updates: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        _check_elementwise(self, input, indices, self.axis)
        self.require(indices == updates, "C3", f"{updates} at {indices}")
        return [input]

    def compute(self, input: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> Arrays:
        """Return the changed copy."""
        return self.write(input, _places(indices, self.axis), updates)


@top_op
class ScatterND(Scatter):
    """The update of every row i of `indices` goes to input[i…]. Source: ONNX ScatterND.

    C1: the rows of the indices are 1 to as many long as the operand has dimensions
    C2: there is one update an index, of the size of the slice it replaces
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(4, 3)), np.array([[1], [-1]]), rng.normal(size=(2, 3))], {}

    def shapes(self, input: Shape, indices: Shape, updates: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.require(len(indices) > 0 and 0 < indices[-1] <= len(input), "C1", f"{indices} into {input}")
        self.require(updates == (*indices[:-1], *input[indices[-1] :]), "C2", f"{updates} at {indices} into {input}")
        return [input]

    def compute(self, input: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> Arrays:
        """Return the changed copy."""
        return self.write(input, tuple(np.moveaxis(indices, -1, 0)), updates)


@top_op
class TopK(TopOp):
    """The k largest or smallest elements along `axis` in order, and their positions. Source: ONNX TopK.

    Of equal elements the one at the lower position comes first.

    C1: axis counts from the front and is within the operand
    C2: k is at least 0 and no more than there are elements along axis
    """

    kind = Kind.FLOAT
    results_count = 2
    k = Int()
    axis = Int()
    largest = Bool(True)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.integers(0, 5, (3, 9)).astype(float)], {"k": 4, "axis": 1}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the operand's shape with k along `axis`, for values and positions."""
        self.require(0 <= self.axis < len(input), "C1", f"axis {self.axis} of {input}")
        self.require(0 <= self.k <= input[self.axis], "C2", f"k {self.k} of {input[self.axis]}")
        return [(*input[: self.axis], self.k, *input[self.axis + 1 :])] * 2

    def elements(self, count: int) -> list[str]:
        """Return the operand's storage and i64."""
        return [storage_of(self.operands[0]), "i64"]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return values and positions."""
        first = [slice(None)] * self.axis + [slice(self.k)]
        if self.largest:  # reversed, so that equal elements stay in order when the ascending order is turned round
            order = input.shape[self.axis] - 1 - np.flip(self._ascending(np.flip(input, self.axis)), self.axis)
        else:
            order = self._ascending(input)
        positions = np.asarray(order[tuple(first)], order="C")
        return [np.take_along_axis(input, positions, self.axis), positions.astype(np.int64, copy=False)]

    def _ascending(self, x: np.ndarray) -> np.ndarray:
        return np.argsort(x, self.axis, kind="stable")


@top_op
class OneHot(TopOp):
    """A new dimension `depth` long at `axis`, values[1] at the index and values[0] elsewhere. Source: ONNX OneHot.

    An index below −depth or from depth on gives values[0] everywhere.

    C1: axis counts from the front and is within the result
    C2: values holds two elements
    C3: depth is at least 1
    """

    kind = Kind.FLOAT
    inputs = ("indices", "values")
    depth = Int()
    axis = Int()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.integers(-6, 6, (2, 3)), np.array([0.5, 2.0])], {"depth": 5, "axis": 1}

    def shapes(self, indices: Shape, values: Shape) -> list[Shape]:
        """Return the shape of the indices with `depth` inserted."""
        self.require(0 <= self.axis <= len(indices), "C1", f"axis {self.axis} of {indices}")
        self.require(values == (2,), "C2", f"{values}")
        self.require(self.depth >= 1, "C3", f"{self.depth}")
        return [(*indices[: self.axis], self.depth, *indices[self.axis :])]

    def elements(self, count: int) -> list[str]:
        """Return the storage of the values."""
        return [storage_of(self.operands[1])] * count

    def compute(self, indices: np.ndarray, values: np.ndarray) -> Arrays:
        """Return the encoded indices."""
        at = np.expand_dims(indices.astype(np.int64), self.axis)
        at = np.where(at < 0, at + self.depth, at)
        steps = np.arange(self.depth).reshape(-1, *([1] * (indices.ndim - self.axis)))
        return [np.where(at == steps, values[1], values[0])]


def _check_elementwise(op: TopOp, input: Shape, indices: Shape, axis: int) -> None:
    op.require(0 <= axis < len(input), "C1", f"axis {axis} of {input}")
    smaller = all(i <= n or d == axis for d, (i, n) in enumerate(zip(indices, input, strict=False)))
    op.require(len(indices) == len(input) and smaller, "C2", f"{indices} into {input}")


def _places(indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Return the index of every place of `indices`, its own value along `axis`."""
    grid: list[np.ndarray] = list(np.meshgrid(*map(np.arange, indices.shape), indexing="ij", sparse=True))
    grid[axis] = indices
    return tuple(grid)
