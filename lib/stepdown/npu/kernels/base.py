"""What a kernel is: an op whose tiles the compute engine makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import Shape, quant_of, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.npu.isa import BYTES, Command, Tensor
from stepdown.npu.isa.tensor import Four
from stepdown.numerics.quantize import QuantParams

Spans = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Region:
    """A box of a tensor: first and last + 1 of n, c, h, w."""

    spans: Spans

    @classmethod
    def whole(cls, shape: Four) -> "Region":
        """Return all of a tensor."""
        n, c, h, w = shape
        return cls(((0, n), (0, c), (0, h), (0, w)))

    @property
    def shape(self) -> Four:
        """The sizes of the box."""
        n, c, h, w = (stop - start for start, stop in self.spans)
        return n, c, h, w

    def within(self, at: int, start: int, stop: int) -> "Region":
        """Return the box with another span in dimension `at`."""
        spans = list(self.spans)
        spans[at] = start, stop
        return Region((spans[0], spans[1], spans[2], spans[3]))


@dataclass(frozen=True)
class Constant:
    """A constant of a kernel, values[1, C, h, w] of a type as they lie in memory.

    `by` says what its channels are: output channels; lanes, each with a share of a table; or one for all lanes.
    """

    type: str
    values: np.ndarray
    by: str = "channel"


class Kernel:
    """An op in commands; give `constants`, `needs` and `commands`.

    Raises:
        UnsupportedModel: the op has something that has no command.
    """

    repeats = False
    """Whether an operand with one channel is for all channels of the output."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        self.op, self.weights = op, weights
        self.shape = four(shape_of(op.results[0]))
        self.operands = [v for v in op.operands if v not in weights and not v.owner.name.endswith(".None")]  # type: ignore[union-attr]
        self.input_shapes = [four(shape_of(v)) for v in self.operands]
        self.type = element_type(op.results[0])
        self.input_types = [element_type(v) for v in self.operands]

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return the constants by name, for a machine with so many lanes."""
        return {}

    def channel_unit(self, lanes: int) -> int:
        """Return of how many channels a part of the output's channels is a multiple: a round of the lanes."""
        return lanes

    def needs(self, region: Region) -> list[Region]:
        """Return the box of every operand that a box of the output is made of."""
        raise NotImplementedError

    def commands(self, tensors: Mapping[str, Tensor], region: Region) -> list[Command]:
        """Return what makes a box of the output; `tensors` are local: constants by name, in0, in1, …, output."""
        raise NotImplementedError

    # --- what kernels ask

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the op."""
        return getattr(self.op, name, default)

    def constant(self, index: int) -> np.ndarray | None:
        """Return the array of a constant operand, None where there is none."""
        return self.weights.get(self.op.operands[index]) if index < len(self.op.operands) else None

    def zero(self, index: int) -> int:
        """Return the zero point of an operand, 0 where it is not quantised."""
        return params(self.op.operands[index]).zero_point

    @property
    def output_zero(self) -> int:
        """The zero point of the result, 0 where it is not quantised."""
        return params(self.op.results[0]).zero_point

    @property
    def bounds(self) -> dict[str, Any]:
        """The bounds of the result: of a quantised one those of its integers, else those of a fused ReLU."""
        if quant_of(self.op.results[0]):
            low, high = self.op.bounds()  # type: ignore[attr-defined]
            return {"low": float(low), "high": float(high)}
        if not self.attribute("do_relu", False):
            return {}
        limit = float(self.attribute("relu_limit"))
        return {"low": 0.0, "high": limit} if limit >= 0 else {"low": 0.0}

    def refuse(self, what: str) -> UnsupportedModel:
        """Return the error that names the op."""
        return UnsupportedModel(what, f'{self.op.name} loc("{self.op.tensor_name}")')


def four(shape: Shape) -> Four:
    """Return a shape as n, c, h, w: dimensions that lack are 1, a fifth one belongs to n.

    A vector is channels; of three dimensions the last is w.
    """
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return shape[0], shape[1], 1, shape[2]
    if len(shape) <= 2:
        padded = (1,) * (2 - len(shape)) + tuple(shape)
        return padded[0], padded[1], 1, 1
    first = int(np.prod(shape[:-3]))
    return first, shape[-3], shape[-2], shape[-1]


def element_type(value: SSAValue) -> str:
    """Return the type of the elements of a value.

    Raises:
        UnsupportedModel: no command has it.
    """
    name = storage_of(value)
    if name not in BYTES:
        raise UnsupportedModel(f"the engines have no type {name}")
    return name


def params(value: SSAValue) -> QuantParams:
    """Return the quantised parameters of a value, neutral ones where it has none."""
    return quant_of(value) or QuantParams(1.0)
