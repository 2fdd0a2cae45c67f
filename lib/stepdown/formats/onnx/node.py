"""One ONNX node, as import rules see it."""

import copy
import itertools
from collections import ChainMap

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.quantize import Dequantize
from stepdown.formats import graph, node
from stepdown.numerics.quantize import QuantParams

NARROW = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}
"""Types of constants that are unpacked to bytes, by their names in numpy."""


class Graph(graph.Graph):
    """The state of one ONNX import."""

    def __init__(self, program: Program, opset: int) -> None:
        super().__init__(program)
        self.opset = opset
        self.keeps_integers = False
        """Whether the model quantises activations: then its quantised constants keep their integers."""
        self.narrow: dict[SSAValue, str] = {}
        """Constants that were unpacked to bytes, with the type they had."""
        self.depth = 0
        """How many graphs inside nodes this one is in."""
        self.called: dict[str, str] = {}
        """What the tensors that nodes make are called: the name of an output that is a copy of another value."""
        self.inlined = itertools.count()
        """Counts the nodes of such graphs."""

    def copy_name(self, name: str, value: SSAValue) -> str:
        """Return the name that the node gives the output, where one makes it."""
        return self.called.get(name) or super().copy_name(name, value)

    def weight(self, array: np.ndarray, key: str, params: QuantParams | None = None) -> SSAValue:
        """Add a constant; integers of 4 and 2 bits are unpacked."""
        kind = np.asarray(array).dtype.name
        value = super().weight(array.astype(NARROW[kind]) if kind in NARROW else array, key, params)
        if kind in NARROW:
            self.narrow[value] = kind
        return value

    def inner(self) -> "Graph":
        """Return the state of a graph inside a node: it sees the tensors made so far and keeps its own to itself."""
        made = copy.copy(self)
        made.values, made.folded = ChainMap({}, self.values), ChainMap({}, self.folded)
        made.aliases, made.depth = {}, self.depth + 1
        return made


class Node(node.Node):
    """One ONNX node: its tensors are called `<onnx tensor>_<OpType>`."""

    graph: Graph

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return self.graph.opset

    def tensor_name(self, output: str) -> str:
        """Return `<onnx tensor>_<OpType>`."""
        return f"{output}_{self.op_type}"

    def constant(self, index: int) -> np.ndarray:
        """Return an operand that must be constant; one that keeps its integers gives its real numbers."""
        owner = self.given(index).owner
        if isinstance(owner, Dequantize) and len(owner.operands) == 1:
            stored = self.graph.constant(owner.operands[0])
            if stored is not None:
                return np.asarray(owner.compute(stored)[0])
        return super().constant(index)


class InnerNode(Node):
    """A node inside another one, whose tensors the source model does not have from outside."""

    def emit_all(self, op: type[TensorOp], *operands: SSAValue, **attributes: object) -> list[SSAValue]:
        """Emit an op whose results are all marked internal."""
        names = [self.tensor_name(name) if name else f"{self.name}/{i}" for i, name in enumerate(self.outputs)]
        names += [f"{self.name}/{i}" for i in range(len(names), op.results_count)]
        return self._emit(op, names, operands, True, attributes)

    def output(self, index: int, op: type[TensorOp], *operands: SSAValue, **attributes: object) -> SSAValue:
        """Emit the op that makes the node's output `index`, marked internal."""
        return self._emit(op, [self.tensor_name(self.outputs[index])], operands, True, attributes, index)[0]

    def alias(self, value: SSAValue, index: int = 0) -> SSAValue:
        """Return `value`: a name that is not seen from outside is not worth noting."""
        return value
