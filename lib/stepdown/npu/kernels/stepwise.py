"""Functions of f32 that are a few elementwise steps, each with one rounding, as the reference computes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.npu.isa import Command, Convert, Eltwise, Tensor
from stepdown.npu.kernels.base import Constant
from stepdown.npu.kernels.vector import UnaryKernel


@dataclass(frozen=True)
class Step:
    """What is done with the value so far: combined with a constant, or with the input; then bounded."""

    kind: str
    constant: float | None
    bounds: tuple[float, float] = (-np.inf, np.inf)


def _hard_sigmoid(op: Any) -> list[Step]:
    return [Step("mul", op.alpha), Step("add", op.beta, (0.0, 1.0))]


def _hard_swish(op: Any) -> list[Step]:
    return [Step("add", 3.0, (0.0, 6.0)), Step("mul", None), Step("div", 6.0)]


STEPS: dict[str, Callable[[Any], list[Step]]] = {"HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish}
"""By the name of the op: the operations of its `function`, in their order."""
CLIPS: dict[str, Callable[[Any], tuple[float, float]]] = {
    "Relu": lambda op: (0.0, op.relu_limit if op.relu_limit >= 0 else np.inf),
    "Clip": lambda op: (op.min, op.max),
}
"""By the name of the op: the bounds, where it does nothing else."""


class ClipKernel(UnaryKernel):
    """A tensor of f32 within bounds."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        self._low, self._high = CLIPS[op.name.split(".")[1]](op)
        if not self._low <= self._high:
            raise self.refuse("its bounds are not in order")

    def command(self, tensors: Mapping[str, Tensor]) -> Command:
        """Return the values as they are, bounded."""
        return Convert(input=tensors["in0"], output=tensors["output"], low=self._low, high=self._high)


class StepwiseKernel(UnaryKernel):
    """A function of f32 as steps on the output in place."""

    def __init__(self, op: TensorOp, weights: Mapping[SSAValue, np.ndarray]) -> None:
        super().__init__(op, weights)
        self._steps = STEPS[op.name.split(".")[1]](op)

    def constants(self, lanes: int) -> dict[str, Constant]:
        """Return steps[1, 1, 1, constants], the same in every lane; a step without one has 0."""
        values = np.array([step.constant or 0.0 for step in self._steps], np.float32)
        return {"steps": Constant("f32", values.reshape(1, 1, 1, -1), "all")}

    def commands(self, tensors: Mapping[str, Tensor], region: Any) -> list[Command]:
        """Return an elementwise command a step."""
        given, output, constants = tensors["in0"], tensors["output"], tensors["steps"]
        found: list[Command] = []
        for at, step in enumerate(self._steps):
            one = replace(
                constants, address=constants.address + 4 * at, shape=(1, output.shape[1], 1, 1), strides=(0, 0, 0, 4)
            )
            left, right = output if found else given, given if step.constant is None else one
            found.append(
                Eltwise(kind=step.kind, a=left, b=right, output=output, low=step.bounds[0], high=step.bounds[1])
            )
        return found
