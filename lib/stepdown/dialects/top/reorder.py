"""Ops that move elements between channels and pixels, along sequences, or mask a triangle."""

import numpy as np

from stepdown.dialects.fields import Bool, Int, Str
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.top.move import Move
from stepdown.dialects.types import Shape


@top_op
class DepthToSpace(Move):
    """Blocks of channels become blocks of pixels: [N, C, H, W] → [N, C / b², H·b, W·b]. Source: ONNX DepthToSpace.

    The block's rows and columns are the slowest parts of the channel in mode DCR, the fastest in mode CRD.

    C1: the operand has 4 dimensions and block_size² divides its channels
    """

    block_size = Int()
    mode = Str("DCR", ("DCR", "CRD"))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 12, 2, 3))], {"block_size": 2, "mode": "CRD"}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return [N, C / b², H·b, W·b]."""
        b = self.block_size
        self.require(len(input) == 4 and b > 0 and input[1] % (b * b) == 0, "C1", f"{input}, block {b}")
        return [(input[0], input[1] // (b * b), input[2] * b, input[3] * b)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the rearranged operand."""
        (n, c, h, w), b = input.shape, self.block_size
        if self.mode == "DCR":
            blocks = input.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = input.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return [blocks.reshape(n, c // (b * b), h * b, w * b)]


@top_op
class SpaceToDepth(Move):
    """Blocks of pixels become channels: [N, C, H·b, W·b] → [N, b²·C, H, W]. Source: ONNX SpaceToDepth.

    The order is that of DepthToSpace in the same mode, which undoes it.

    C1: the operand has 4 dimensions and block_size divides its height and width
    """

    block_size = Int()
    mode = Str("DCR", ("DCR", "CRD"))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4, 6))], {"block_size": 2}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return [N, b²·C, H / b, W / b]."""
        b = self.block_size
        fits = len(input) == 4 and b > 0 and input[2] % b == 0 == input[3] % b
        self.require(fits, "C1", f"{input}, block {b}")
        return [(input[0], input[1] * b * b, input[2] // b, input[3] // b)]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the rearranged operand."""
        (n, c, h, w), b = input.shape, self.block_size
        blocks = input.reshape(n, c, h // b, b, w // b, b)
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return [blocks.transpose(order).reshape(n, c * b * b, h // b, w // b)]


@top_op
class ReverseSequence(Move):
    """The first sequence_lens[b] elements along `time_axis` of each batch b reversed. Source: ONNX ReverseSequence.

    C1: batch_axis and time_axis are 0 and 1 in either order, and the operand has both
    C2: sequence_lens has one value a batch
    """

    inputs = ("input", "sequence_lens")
    batch_axis = Int(1)
    time_axis = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(4, 3, 2)), np.array([1, 4, 2])], {}

    def shapes(self, input: Shape, sequence_lens: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        axes = (self.batch_axis, self.time_axis)
        self.require(sorted(axes) == [0, 1] and len(input) > 1, "C1", f"{axes} of {input}")
        self.require(sequence_lens == (input[self.batch_axis],), "C2", f"{sequence_lens} for {input}")
        return [input]

    def compute(self, input: np.ndarray, sequence_lens: np.ndarray) -> Arrays:
        """Return the operand with the beginning of every sequence reversed."""
        steps = np.arange(input.shape[self.time_axis])
        lengths = sequence_lens.astype(np.int64)[:, None]
        source = np.where(steps < lengths, lengths - 1 - steps, steps)  # [batch, time]
        if self.batch_axis == 1:
            return [input[source.T, np.arange(input.shape[1])]]
        return [input[np.arange(len(input))[:, None], source]]


@top_op
class Trilu(TopOp):
    """The upper or lower triangle of the last two dimensions, 0 elsewhere. Source: ONNX Trilu.

    `k` is the diagonal that bounds the triangle: 0 the main one, above it positive.

    C1: the operand has at least 2 dimensions
    """

    kind = Kind.FLOAT
    upper = Bool(True)
    k = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        return [rng.normal(size=(2, 3, 4))], {"k": 1}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.require(len(input) > 1, "C1", f"{input}")
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the triangle."""
        return [np.triu(input, self.k) if self.upper else np.tril(input, self.k)]
