"""Ops on images that are laid out as columns of blocks."""

import itertools
import math
from typing import Any

import numpy as np

from stepdown.dialects.fields import Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, top_op
from stepdown.dialects.types import Shape
from stepdown.numerics.windows import Window


@top_op
class Col2Im(TopOp):
    """Blocks, the columns of input[N, C · block, L], added up where they lie in an image. Source: ONNX Col2Im.

    `pads` holds all begins, then all ends: what of the blocks lies there is dropped.

    C1: the input has three dimensions; the sizes and pads of the image and its blocks have one rank and are possible
    C2: the input has a column for every position of the block, whose elements divide the rows
    """

    kind = Kind.FLOAT
    image_shape = Ints()
    block_shape = Ints()
    strides = Ints()
    dilations = Ints()
    pads = Ints()

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands and attributes for the tests."""
        sizes = {"image_shape": [4, 5], "block_shape": [2, 3], "strides": [2, 1], "dilations": [1, 2]}
        return [rng.normal(size=(2, 18, 6))], {**sizes, "pads": [0, 1, 0, 1]}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return [N, C, *image_shape]."""
        rank, given = len(self.image_shape), (self.block_shape, self.strides, self.dilations)
        fits = len(input) == 3 and rank > 0 and [len(v) for v in given] == [rank] * 3 and len(self.pads) == 2 * rank
        possible = min((*self.image_shape, *itertools.chain(*given)), default=0) > 0 and min(self.pads, default=0) >= 0
        self.require(fits and possible, "C1", f"{input}, {self.image_shape}, {given}, {self.pads}")
        counts, block = [w.count for w in self.windows()], math.prod(self.block_shape)
        columns = min(counts) > 0 and input[2] == math.prod(counts) and input[1] % block == 0
        self.require(columns, "C2", f"{input}, {block} elements at {counts} positions")
        return [(input[0], input[1] // block, *self.image_shape)]

    def windows(self) -> list[Window]:
        """Return the block's positions over each dimension of the image."""
        ends = self.pads[len(self.image_shape) :]
        each = zip(self.image_shape, self.block_shape, self.strides, self.pads, ends, self.dilations, strict=False)
        return [Window(n, k, s, begin, end, d) for n, k, s, begin, end, d in each]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the image."""
        windows, (n, c, *image) = self.windows(), self.shapes(input.shape)[0]
        columns = input.reshape(n, c, *self.block_shape, *(w.count for w in windows))
        padded = np.zeros((n, c, *(w.begin + w.size + w.end for w in windows)), input.dtype)
        for place in itertools.product(*map(range, self.block_shape)):
            starts = [at * w.dilation for at, w in zip(place, windows, strict=True)]
            steps: list[Any] = [
                slice(s, s + (w.count - 1) * w.stride + 1, w.stride) for s, w in zip(starts, windows, strict=True)
            ]
            padded[..., *steps] += columns[(slice(None), slice(None), *place)]  # type: ignore[arg-type]
        inside: list[Any] = [slice(w.begin, w.begin + size) for w, size in zip(windows, image, strict=True)]
        return [np.ascontiguousarray(padded[..., *inside])]
