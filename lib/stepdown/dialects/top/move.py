"""Ops that move elements without computing: the integers of a quantised tensor pass through unchanged."""

import math
from typing import Any

import numpy as np

from stepdown.dialects.fields import Float, Int, Ints, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
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

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4))], {"shape": [4, 6]}

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

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4))], {"order": [2, 0, 1]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the permuted shape."""
        self.require(sorted(self.order) == list(range(len(input))), "C1", f"{self.order} of {input}")
        return [tuple(input[i] for i in self.order)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the permuted operand."""
        return [np.asarray(input.transpose(self.order), order="C")]


@top_op
class Concat(Move):
    """The operands one after the other along `axis`. Source: ONNX Concat.

    C1: the operands have one rank, axis counts from the front and is within it
    C2: the operands have the same sizes in every other dimension
    """

    inputs = ("input*",)
    axis = Int()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, n, 3)) for n in (1, 4, 2)], {"axis": 1}

    def shapes(self, *inputs: Shape) -> list[Shape]:
        """Return the sizes of the first operand, those along `axis` added up."""
        axis = self.axis
        self.require(len({len(s) for s in inputs}) == 1 and 0 <= axis < len(inputs[0]), "C1", f"{inputs}, axis {axis}")
        others = {(*s[:axis], *s[axis + 1 :]) for s in inputs}
        self.require(len(others) == 1, "C2", f"{inputs}, axis {axis}")
        return [_resized(inputs[0], axis, sum(s[axis] for s in inputs))]

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the joined operands."""
        return [np.concatenate(inputs, self.axis)]


@top_op
class Slice(Move):
    """The elements starts[i], starts[i] + steps[i], … before ends[i] of every dimension i. Source: ONNX Slice.

    Nothing counts from the end: an end of -1 is the place before the first element.

    C1: starts, ends and steps have one value a dimension
    C2: no step is 0, and every element taken is within the operand
    """

    starts = Ints()
    ends = Ints()
    steps = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(3, 5, 6))], {"starts": [0, 4, 1], "ends": [2, -1, 6], "steps": [1, -2, 3]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the number of elements taken of each dimension."""
        self.require(len(self.starts) == len(self.ends) == len(self.steps) == len(input), "C1", f"{input}")
        self.require(0 not in self.steps, "C2", "a step is 0")
        taken = self._ranges()
        inside = all(
            not r or (min(r[0], r[-1]) >= 0 and max(r[0], r[-1]) < n) for r, n in zip(taken, input, strict=True)
        )
        self.require(inside, "C2", f"{self.starts} to {self.ends} by {self.steps} of {input}")
        return [tuple(map(len, taken))]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the elements taken."""
        cuts = [slice(r.start, r.stop if r.stop >= 0 else None, r.step) if r else slice(0, 0) for r in self._ranges()]
        return [np.asarray(input[tuple(cuts)], order="C")]

    def _ranges(self) -> list[range]:
        return [range(*bounds) for bounds in zip(self.starts, self.ends, self.steps, strict=True)]


@top_op
class Split(Move):
    """Consecutive parts along `axis`, sizes[i] elements long. Source: ONNX Split.

    C1: axis counts from the front and is within the operand
    C2: no size is negative and they add up to the operand's
    """

    axis = Int()
    sizes = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 7))], {"axis": 1, "sizes": [1, 4, 2]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of each part."""
        self.require(0 <= self.axis < len(input), "C1", f"axis {self.axis} of {input}")
        fits = min(self.sizes, default=-1) >= 0 and sum(self.sizes) == input[self.axis]
        self.require(fits, "C2", f"{self.sizes} of {input[self.axis]}")
        return [_resized(input, self.axis, size) for size in self.sizes]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the parts."""
        return [np.asarray(p, order="C") for p in np.split(input, np.cumsum(self.sizes)[:-1], self.axis)]


@top_op
class Pad(Move):
    """Elements added on every side, or cut off where a pad is negative; `pads` holds all begins, then all ends.

    `value` is a real number, whatever the operand is stored in. Source: ONNX Pad, CenterCropPad.

    C1: pads has two values a dimension
    C2: no dimension becomes smaller than 0
    C3: there is an element to repeat in every dimension that grows by other than a constant
    """

    pads = Ints()
    mode = Str("constant", ("constant", "reflect", "edge", "wrap"))
    value = Float(0.0)
    fills = ("value",)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4))], {"pads": [0, 2, -1, 1, 0, 3], "value": 1.5}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the padded shape."""
        self.require(len(self.pads) == 2 * len(input), "C1", f"{self.pads} of {input}")
        sizes = [n + before + after for n, (before, after) in zip(input, self._sides(), strict=True)]
        self.require(min(sizes, default=0) >= 0, "C2", f"{self.pads} of {input}")
        grows = [n == 0 and max(side) > 0 for n, side in zip(input, self._sides(), strict=True)]
        self.require(self.mode == "constant" or not any(grows), "C3", f"{self.pads} of {input}")
        return [tuple(sizes)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the padded operand."""
        sides = self._sides()
        cuts = [slice(max(0, -b), n - max(0, -e)) for n, (b, e) in zip(input.shape, sides, strict=True)]
        grown = [(max(0, before), max(0, after)) for before, after in sides]
        constant: Any = {"constant_values": input.dtype.type(self.value)} if self.mode == "constant" else {}
        return [np.pad(input[tuple(cuts)], grown, self.mode, **constant)]  # type: ignore[call-overload]

    def _sides(self) -> list[tuple[int, int]]:
        rank = len(self.pads) // 2
        return list(zip(self.pads[:rank], self.pads[rank:], strict=True))


@top_op
class Expand(Move):
    """The operand broadcast to `shape`, which keeps or repeats each of its dimensions. Source: ONNX Expand.

    C1: the operand can be broadcast to the shape
    """

    shape = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(3, 1))], {"shape": [2, 3, 4]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return `shape`."""
        tail = self.shape[len(self.shape) - len(input) :] if len(self.shape) >= len(input) else ()
        fits = len(tail) == len(input) and all(n in (1, wanted) for n, wanted in zip(input, tail, strict=True))
        self.require(fits, "C1", f"{input} to {self.shape}")
        return [self.shape]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the repeated operand."""
        return [np.asarray(np.broadcast_to(input, self.shape), order="C")]


@top_op
class Tile(Move):
    """The whole operand repeated repeats[i] times along each dimension i. Source: ONNX Tile.

    C1: repeats has one value a dimension, none negative
    """

    repeats = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3))], {"repeats": [3, 2]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the repeated shape."""
        fits = len(self.repeats) == len(input) and min(self.repeats, default=0) >= 0
        self.require(fits, "C1", f"{self.repeats} of {input}")
        return [tuple(n * times for n, times in zip(input, self.repeats, strict=True))]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the repeated operand."""
        return [np.tile(input, self.repeats)]


def _resized(shape: Shape, axis: int, size: int) -> Shape:
    """Return `shape` with another size along `axis`."""
    return (*shape[:axis], size, *shape[axis + 1 :])
