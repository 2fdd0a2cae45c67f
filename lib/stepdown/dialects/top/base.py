"""The base classes of TOP ops and the registry that the generic tests, the importers and the TPU dialect read."""

import math
from typing import Any, ClassVar

import numpy as np

from stepdown.dialects.fields import Bool, Float
from stepdown.dialects.op import Arrays, Kind, TensorOp
from stepdown.dialects.types import Shape

TOP_OPS: dict[str, type["TopOp"]] = {}
"""Every TOP op class by its class name."""

Example = tuple[list[Any], dict[str, Any]]
"""Operand arrays (None for an absent one) and attributes of an op."""


class TopOp(TensorOp):
    """An op of the TOP dialect."""

    fills: ClassVar[tuple[str, ...]] = ()
    """Fields of a moving op that hold a real number written among the moved elements."""
    probability: ClassVar[bool] = False
    """Whether results are shares of 1, whose rare largest ones matter: calibration does not clip them."""

    @staticmethod
    def example(rng: np.random.Generator) -> Example | None:
        """Return operand arrays and attributes for the tests that run over the registry, None to be sampled there."""
        return None


def top_op(cls: type[TopOp]) -> type[TopOp]:
    """Register an op class as `top.<class name>`."""
    cls.name = f"top.{cls.__name__}"
    TOP_OPS[cls.__name__] = cls
    return cls


class Unary(TopOp):
    """An elementwise function of one tensor: give `function`."""

    kind = Kind.LUT
    domain: ClassVar[tuple[float, float]] = (-4.0, 4.0)
    """Where the tests sample the function."""

    def shapes(self, input: Shape) -> list[Shape]:
        """Return the shape of the operand."""
        return [input]

    def compute(self, input: np.ndarray) -> Arrays:
        """Apply `function` elementwise, in the type of the operand."""
        return [np.asarray(self.function(input)).astype(input.dtype, copy=False)]

    def function(self, x: np.ndarray) -> np.ndarray:
        """Return the function of every element."""
        raise NotImplementedError(self.name)


class Fused(TopOp):
    """An op that may carry the ReLU that followed it: y ← max(y, 0), and min(y, relu_limit) where that is ≥ 0."""

    do_relu = Bool(False)
    relu_limit = Float(-1.0)

    def activate(self, y: np.ndarray) -> np.ndarray:
        """Apply the fused ReLU, in place where there is one."""
        if self.do_relu:
            np.clip(y, 0, self.relu_limit if self.relu_limit >= 0 else None, out=y)
        return y


def broadcast(*shapes: Shape) -> Shape:
    """Return the broadcast shape (numpy rules). Raises ValueError where there is none."""
    return np.broadcast_shapes(*shapes)


def normalize_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return axes counted from the front; no axes means all."""
    return tuple(sorted(a % rank for a in axes)) if axes else tuple(range(rank))


def elements(shape: Shape) -> int:
    """Return the number of elements."""
    return math.prod(shape)
