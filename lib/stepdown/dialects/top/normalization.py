"""Ops that scale a tensor by statistics of its elements, or by given ones."""

from typing import Any

import numpy as np

from stepdown.dialects.fields import Float, Int, Ints
from stepdown.dialects.op import Arrays, Kind
from stepdown.dialects.top.base import Example, TopOp, normalize_axes, top_op
from stepdown.dialects.top.reduce import Along
from stepdown.dialects.types import Shape, storage_of
from stepdown.numerics.windows import Window, fold


def sample(rng: np.random.Generator, *shapes: Shape) -> list[Any]:
    """Return positive operands of the given shapes, for the tests that run over the registry."""
    return [rng.uniform(0.5, 2, shape).astype(np.float32) for shape in shapes]


class PerChannel(TopOp):
    """An op with operands that hold one value a channel of input[N, C, …].

    C1: the input has a channel dimension, and each other operand has one value a channel
    """

    kind = Kind.FLOAT

    def shapes(self, input: Shape, *others: Shape | None) -> list[Shape]:
        """Return the shape of the input."""
        fits = len(input) >= 2 and all(other in (None, input[1:2]) for other in others)
        self.require(fits, "C1", f"{input} with {others}")
        return [input]


def per_channel(values: np.ndarray, input: np.ndarray) -> np.ndarray:
    """Return values[C] in a shape and type to combine with input[N, C, …]."""
    return values.reshape(-1, *([1] * (input.ndim - 2))).astype(input.dtype, copy=False)


@top_op
class BatchNorm(PerChannel):
    """(x − mean) / √(variance + epsilon) · scale + bias a channel. Source: ONNX BatchNormalization."""

    inputs = ("input", "scale", "bias", "mean", "variance")
    epsilon = Float(1e-5)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return sample(rng, (2, 3, 4, 5), (3,), (3,), (3,), (3,)), {}

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the normalised channels."""
        input, scale, bias, mean, variance = inputs
        y = input - per_channel(mean, input)
        y *= per_channel(scale / np.sqrt(variance.astype(np.float64) + self.epsilon), input)
        y += per_channel(bias, input)
        return [y]


@top_op
class Scale(PerChannel):
    """x · scale + bias a channel. Source: ONNX Mul and Add, BatchNormalization with known statistics."""

    inputs = ("input", "scale", "bias")

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return sample(rng, (2, 3, 4, 5), (3,), (3,)), {}

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the scaled channels."""
        input, scale, bias = inputs
        y = input * per_channel(scale, input)
        y += per_channel(bias, input)
        return [y]


def standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (x − mean) / √(variance + epsilon) over `axes`, the mean, and 1 / √(variance + epsilon)."""
    mean = x.mean(axis=axes, keepdims=True)
    y = x - mean
    inverse = 1 / np.sqrt(np.square(y).mean(axis=axes, keepdims=True) + epsilon)
    y *= inverse
    return y, mean, inverse


@top_op
class GroupNorm(TopOp):
    """Each group of channels standardised, · scale + bias a channel. Source: ONNX Group- and InstanceNormalization.

    C1: the input has a channel dimension, and the groups divide the channels
    C2: scale and bias have one value a channel, or one a group
    """

    kind = Kind.FLOAT
    inputs = ("input", "scale", "bias")
    num_groups = Int()
    epsilon = Float(1e-5)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return sample(rng, (2, 6, 3, 3), (6,), (6,)), {"num_groups": 2}

    def shapes(self, input: Shape, scale: Shape, bias: Shape) -> list[Shape]:
        """Return the shape of the input."""
        groups = self.num_groups
        self.require(len(input) >= 2 and groups >= 1 and input[1] % groups == 0, "C1", f"{input}, {groups} groups")
        self.require(scale == bias and scale in ((input[1],), (groups,)), "C2", f"{scale} and {bias}")
        return [input]

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the normalised groups."""
        input, *parameters = inputs
        scale, bias = (per_channel(np.repeat(p, input.shape[1] // len(p)), input) for p in parameters)
        y, _, _ = standardized(input.reshape(len(input), self.num_groups, -1), (2,), self.epsilon)
        y = y.reshape(input.shape)
        y *= scale
        y += bias
        return [y]


class TrailingNorm(Along):
    """A normalisation over `axis` and all later dimensions.

    C2: scale and bias are broadcast to the shape of the input
    """

    axis = Int(-1)
    epsilon = Float(1e-5)

    def shapes(self, input: Shape, *others: Shape | None) -> list[Shape]:
        """Return the shape of the input."""
        self.check_axis(self.axis, input)
        for other in others:
            trailing = input[len(input) - len(other or ()) :]
            fits = len(other or ()) <= len(input) and all(
                o in (1, n) for o, n in zip(other or (), trailing, strict=True)
            )
            self.require(fits, "C2", f"{other} to {input}")
        return [input]

    def axes_of(self, rank: int) -> tuple[int, ...]:
        """Return the normalised dimensions."""
        return tuple(range(self.axis % rank, rank))


@top_op
class LayerNorm(TrailingNorm):
    """Standardised over the trailing dimensions, · scale + bias. Source: ONNX LayerNormalization.

    With `statistics` 1 or 2 the mean, then 1 / √(variance + epsilon) are results too, the dimensions kept as 1.

    C3: statistics is 0, 1 or 2
    """

    inputs = ("input", "scale", "bias?")
    statistics = Int(0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return [*sample(rng, (2, 3, 8), (8,)), None], {}

    def shapes(self, input: Shape, *others: Shape | None) -> list[Shape]:
        """Return the shape of the input, and those of the statistics asked for."""
        shapes = super().shapes(input, *others)
        self.require(0 <= self.statistics <= 2, "C3", f"{self.statistics}")
        kept = len(input) - len(self.axes_of(len(input)))
        return [*shapes, *[(*input[:kept], *([1] * (len(input) - kept)))] * self.statistics]

    def elements(self, count: int) -> list[str]:
        """The statistics are float32 whatever the input is."""
        return [storage_of(self.operands[0]), *["f32"] * (count - 1)]

    def compute(self, input: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> Arrays:
        """Return the normalised rows and the statistics asked for."""
        y, mean, inverse = standardized(input, self.axes_of(input.ndim), self.epsilon)
        y *= scale
        if bias is not None:
            y += bias
        return [y, mean, inverse][: 1 + self.statistics]


@top_op
class RMSNorm(TrailingNorm):
    """x / √(mean(x²) + epsilon) over the trailing dimensions, · scale. Source: ONNX RMSNormalization."""

    inputs = ("input", "scale")

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return operands for the tests that run over the registry."""
        return sample(rng, (2, 3, 8), (8,)), {}

    def compute(self, *inputs: np.ndarray) -> Arrays:
        """Return the normalised rows."""
        input, scale = inputs
        y = input / np.sqrt(np.square(input).mean(axis=self.axes_of(input.ndim), keepdims=True) + self.epsilon)
        y *= scale
        return [y]


@top_op
class LRN(TopOp):
    """x / (bias + alpha / size · Σ x²)^beta, the sum over `size` neighbouring channels. Source: ONNX LRN.

    C1: the input has a channel dimension, size is at least 1 and less than 2^31
    """

    kind = Kind.FLOAT
    size = Int()
    alpha = Float(1e-4)
    beta = Float(0.75)
    bias = Float(1.0)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return sample(rng, (2, 7, 3, 3)), {"size": 5}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.require(len(input) >= 2 and 1 <= self.size < 1 << 31, "C1", f"{input}, size {self.size}")
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the normalised channels."""
        before = (self.size - 1) // 2
        neighbours = Window(input.shape[1], self.size, begin=before, end=self.size - 1 - before)
        y = fold(np.square(input), 1, neighbours, np.add, 0)
        y *= self.alpha / self.size
        y += self.bias
        return [input * y**-self.beta]


@top_op
class LpNorm(Along):
    """x / its p-norm along `axis`; 0 where that is 0. Source: ONNX LpNormalization.

    C2: p is 1 or 2
    """

    axis = Int(-1)
    p = Int(2)

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return sample(rng, (2, 3, 4)), {}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.check_axis(self.axis, input)
        self.require(self.p in (1, 2), "C2", f"{self.p}")
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the normalised vectors."""
        magnitudes = np.abs(input) if self.p == 1 else np.square(input)
        norm = magnitudes.sum(axis=self.axis, keepdims=True)
        norm = norm if self.p == 1 else np.sqrt(norm)
        return [input / np.where(norm == 0, 1, norm)]


@top_op
class MeanVarianceNorm(TopOp):
    """(x − mean) / (standard deviation + 1e-9) over `axes`. Source: ONNX MeanVarianceNormalization.

    C1: axes are dimensions of the operand
    """

    kind = Kind.FLOAT
    axes = Ints((0, 2, 3))

    @staticmethod
    def example(rng: np.random.Generator) -> Example:
        """Return an operand for the tests that run over the registry."""
        return sample(rng, (2, 3, 4, 4)), {}

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        self.require(all(-len(input) <= axis < len(input) for axis in self.axes), "C1", f"{self.axes} of {input}")
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Return the standardised operand."""
        axes = normalize_axes(self.axes, input.ndim)
        y = input - input.mean(axis=axes, keepdims=True)
        y /= np.sqrt(np.square(y).mean(axis=axes, keepdims=True)) + 1e-9
        return [y]
