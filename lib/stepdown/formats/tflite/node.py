"""One TFLite operator, as import rules see it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.activation import Clip, Relu
from stepdown.dialects.top.elementary import Tanh
from stepdown.dialects.top.move import Reshape, Transpose
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import quant_of, shape_of
from stepdown.formats import graph, node
from stepdown.numerics.quantize import QuantParams, dequantize

# What the ops with `do_relu` take over of a fused activation: attributes of the op.
FUSED: dict[str, dict[str, Any]] = {
    "NONE": {},
    "RELU": {"do_relu": True},
    "RELU6": {"do_relu": True, "relu_limit": 6.0},
}
# Every other activation, and all of them after ops that cannot fuse one, is an op of its own.
ACTIVATIONS: dict[str, tuple[type[TensorOp], dict[str, Any]]] = {
    "RELU": (Relu, {}),
    "RELU6": (Relu, {"relu_limit": 6.0}),
    "RELU_N1_TO_1": (Clip, {"min": -1.0, "max": 1.0}),
    "TANH": (Tanh, {}),
}


class Graph(graph.Graph):
    """The state of one TFLite import."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._real: dict[SSAValue, SSAValue] = {}
        self.stated: dict[str, QuantParams] = {}
        """How the file quantises each tensor, also where its integers are dropped."""

    def copy_name(self, name: str, value: SSAValue) -> str:
        """Return the output's own name where nothing else is called so: a constant is no tensor of the program."""
        return name if isinstance(value.owner, Weight) else f"{name}_copy"

    def real(self, value: SSAValue) -> SSAValue:
        """Return a constant as float32: dequantised, or widened from float16; any other value as it is."""
        array = self.constant(value)
        if array is None or (quant_of(value) is None and array.dtype != np.float16):
            return value
        if value not in self._real:
            params = quant_of(value)
            floats = dequantize(array, params) if params else array.astype(np.float32)
            self._real[value] = self.weight(floats, value.owner.key)  # type: ignore[union-attr]
        return self._real[value]


class Node(node.Node):
    """One TFLite operator: its tensors keep their names."""

    graph: Graph

    @property
    def params(self) -> QuantParams | None:
        """How the first output is quantised, None where it is a float."""
        return self.graph.quantised.get(self.outputs[0])

    def value(self, index: int) -> SSAValue:
        """Return an operand; an operator with a float result gets its quantised constants as floats."""
        value = super().value(index)
        return value if self.params else self.graph.real(value)

    # --- fused activations

    @property
    def activation(self) -> str:
        """The fused activation."""
        return str(self.attribute("FusedActivationFunction", "NONE"))

    @property
    def fused(self) -> dict[str, Any]:
        """The attributes by which an op with `do_relu` takes over the activation."""
        return FUSED.get(self.activation, {})

    def activated(self, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Emit an op that cannot fuse activations, and the activation behind it."""
        if self.activation == "NONE":
            return self.emit(op, *operands, **attributes)
        return self._activate(self.part("linear", op, *operands, **attributes))

    def fusing(self, op: type[TensorOp], *operands: SSAValue, **attributes: Any) -> SSAValue:
        """Emit an op with `do_relu`, and behind it an activation that it cannot take over."""
        if self.activation in FUSED:
            return self.emit(op, *operands, **attributes, **self.fused)
        return self._activate(self.part("linear", op, *operands, **attributes))

    def _activate(self, value: SSAValue) -> SSAValue:
        op, attributes = self._activation_op()
        return self.emit(op, value, **attributes)

    def _activation_op(self) -> tuple[type[TensorOp], dict[str, Any]]:
        if self.activation not in ACTIVATIONS:
            raise self.refuse(f"fuses the activation {self.activation}")
        return ACTIVATIONS[self.activation]

    # --- layouts

    def channels_first(self, value: SSAValue, label: str = "in") -> SSAValue:
        """Return x[N, *S, C] as [N, C, *S]."""
        rank = len(shape_of(value))
        return self.part(label, Transpose, value, order=[0, rank - 1, *range(1, rank - 1)])

    def channels_last(
        self, op: type[TensorOp], *operands: SSAValue, can_fuse: bool = False, **attributes: Any
    ) -> SSAValue:
        """Emit an op on [N, C, *S] and its result as [N, *S, C], the fused activation included."""
        taken = self.fused if can_fuse else {}
        first = self.part("nchw", op, *operands, **attributes, **taken)
        if self.activation != "NONE" and not taken:
            activation, chosen = self._activation_op()
            first = self.part("activated", activation, first, **chosen)
        rank = len(shape_of(first))
        return self.emit(Transpose, first, order=[0, *range(2, rank), 1])

    # --- constants in another shape

    def moved(self, index: int, order: Sequence[int], shape: Sequence[int] | None = None) -> SSAValue:
        """Return operand `index` transposed by `order`, then reshaped; a constant's channel axis moves along."""
        value = self.given(index)
        made = self.part(f"operand{index}", Transpose, value, order=list(order))
        if shape is not None:
            made = self.part(f"operand{index}_shaped", Reshape, made, shape=list(shape))
        return made
