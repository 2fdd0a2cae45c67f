"""Graphs inside a node, imported in the node's place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, fused_of, is_internal, location
from stepdown.dialects.top.source import Weight
from stepdown.errors import InputError
from stepdown.formats.assemble import import_node, malformed
from stepdown.formats.onnx.attributes import attribute_value, tensor_array
from stepdown.formats.onnx.node import Graph, InnerNode, Node
from stepdown.formats.onnx.rules import refuse_unknown, rules_for

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 16
MAX_NODES = 50_000
"""A small model with loops in loops must not become a program that no machine holds."""


class GraphNode(InnerNode):
    """A node of a graph inside `outer`; its tensors are called `<output of outer>/<label>/<onnx tensor>_<OpType>`."""

    def __init__(self, outer: Node, state: Graph, label: str, proto: "onnx.NodeProto") -> None:
        attributes = {a.name: attribute_value(a) for a in proto.attribute}
        super().__init__(state, proto.op_type, proto.input, proto.output, attributes)
        self._opset, self._prefix = outer.opset, f"{outer.name}/{label}/"

    @property
    def opset(self) -> int:
        """The version of the operator set of the node that the graph is in."""
        return self._opset

    def tensor_name(self, output: str) -> str:
        """Return the name that also says which pass through the graph makes the tensor."""
        return f"{self._prefix}{super().tensor_name(output)}"


def import_graph(
    outer: Node, graph: "onnx.GraphProto", given: Sequence[SSAValue], label: str
) -> list[SSAValue]:  # fmt: skip
    """Import the nodes of a graph inside `outer` on the values of its inputs; return those of its outputs.

    `label` tells one pass through the graph from the others.

    Raises:
        UnsupportedModel: graphs are nested too deep, too many nodes come of loops, or a node cannot be imported.
        InputError: the graph is malformed.
    """
    state = outer.graph.inner()
    if state.depth > MAX_DEPTH:
        raise outer.refuse(f"more than {MAX_DEPTH} graphs inside each other are not supported")
    refuse_unknown(graph.node)
    if len(given) != len(graph.input):
        raise outer.refuse(f"gives {len(given)} inputs to a graph that has {len(graph.input)}")
    state.values.update({formal.name: value for formal, value in zip(graph.input, given, strict=True)})
    for initializer in graph.initializer:
        key = f"{outer.name}/{initializer.name}"
        state.values[initializer.name] = state.weight(tensor_array(initializer), key)
    for proto in graph.node:
        if next(state.inlined) >= MAX_NODES:
            raise outer.refuse(f"its graph comes to more than {MAX_NODES} nodes when it is unrolled")
        where = f"node {proto.op_type} '{proto.name}' in {outer.op_type} '{outer.name}'"
        with malformed(where):
            node = GraphNode(outer, state, label, proto)
        if node.names:
            import_node(node, rules_for(proto), where)
    if missing := [o.name for o in graph.output if o.name not in state.values]:
        raise InputError(f"nothing makes the output '{missing[0]}' of a graph in it", f"node '{outer.name}'")
    return [state.values[o.name] for o in graph.output]


def named_outputs(node: Node, values: Sequence[SSAValue]) -> list[SSAValue]:
    """Return the values of a node's outputs, each made by an op that has the output's name."""
    if isinstance(node, InnerNode):
        return list(values)
    return [_named(node, output, value) for output, value in zip(node.outputs, values, strict=False)]


def _named(node: Node, output: str, value: SSAValue) -> SSAValue:
    """Name the op that makes an output; what is made outside, is an output already or is one of several is copied."""
    owner = value.owner
    if not output or isinstance(owner, Weight):
        return value
    name = node.tensor_name(output)
    inside = isinstance(owner, TensorOp) and is_internal(owner) and owner.tensor_name.startswith(f"{node.name}/")
    if not inside or len(owner.results) > 1:  # type: ignore[union-attr]
        return node.graph.copy(value, name)
    owner.location = location([name], fused_of(owner))  # type: ignore[arg-type, union-attr]
    return value
