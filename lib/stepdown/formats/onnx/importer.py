"""ONNX graph → TOP program."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stepdown.dialects.program import Program
from stepdown.dialects.top.source import Input
from stepdown.dialects.types import storage_of_dtype, tensor
from stepdown.errors import InputError, UnsupportedModel
from stepdown.formats.assemble import import_node, malformed, network_outputs
from stepdown.formats.onnx.attributes import attribute_value, tensor_array
from stepdown.formats.onnx.node import Graph, Node
from stepdown.formats.onnx.rules import refuse_unknown, rules_for
from stepdown.formats.onnx.versions import check_opset, opset_of
from stepdown.transforms.rewrite import drop_unused

if TYPE_CHECKING:
    import onnx

# Operators that quantise what the network computes, not only its constants.
ACTIVATION_OPERATORS = ("QuantizeLinear", "QLinear", "QGemm")


def import_model(
    model: "onnx.ModelProto", name: str, preprocessing: Mapping[str, Mapping[str, Any]] | None = None
) -> Program:
    """Import an ONNX model whose input shapes are fixed.

    `preprocessing` holds, by input name, the attributes of `top.Input`.

    Raises:
        UnsupportedModel: names **all** operators we cannot import, with counts, or the node that breaks a constraint,
            or an operator set that is newer than those we know.
        InputError: an input shape is not fixed, or the graph is malformed.
    """
    graph = model.graph
    check_opset(model)
    refuse_unsupported(graph.node)
    _check_names(graph)
    inputs = _input_types(graph)
    program = Program.empty(name, inputs, "ONNX")
    state = Graph(program, opset_of(model))
    state.keeps_integers = quantises_activations(graph.node)
    for argument, tensor_name in zip(program.block.args, inputs, strict=True):
        attributes = (preprocessing or {}).get(tensor_name, {})
        state.values[tensor_name] = program.add(Input.build(tensor_name, [argument], **attributes))
    for initializer in graph.initializer:
        state.values[initializer.name] = state.weight(tensor_array(initializer), initializer.name)
    for node in graph.node:
        _import_node(state, node)
    program.finish(network_outputs(state, [o.name for o in graph.output]))
    drop_unused(program)
    return program


def quantises_activations(nodes: "Iterable[onnx.NodeProto]") -> bool:
    """Tell whether a model quantises what it computes."""
    return any(node.op_type.startswith(ACTIVATION_OPERATORS) for node in nodes)


def refuse_unsupported(nodes: "Sequence[onnx.NodeProto]") -> None:
    """Raise UnsupportedModel naming every operator that has no import rule, with how often it occurs."""
    refuse_unknown(nodes)


def _import_node(state: Graph, proto: "onnx.NodeProto") -> None:
    where = f"node {proto.op_type} '{proto.name}'"
    if not any(proto.output):
        return
    with malformed(where):
        attributes = {a.name: attribute_value(a) for a in proto.attribute}
    node = Node(state, proto.op_type, proto.input, proto.output, attributes)
    import_node(node, rules_for(proto), where)
    if proto.op_type != "Constant":
        state.called |= {name: node.tensor_name(name) for name in proto.output if name}


def _check_names(graph: "onnx.GraphProto") -> None:
    """Raise InputError where two inputs or two initializers share a name, or there is no output."""
    for what, values in (("input", graph.input), ("initializer", graph.initializer), ("output", graph.output)):
        names = Counter(value.name for value in values)
        if twice := [name for name, count in names.items() if count > 1]:
            raise InputError(f"has the {what} '{twice[0]}' twice", f"graph '{graph.name}'")
    if not graph.output:
        raise InputError("has no outputs", f"graph '{graph.name}'")


def _input_types(graph: "onnx.GraphProto") -> dict[str, Any]:
    """Return the tensor types of the true inputs (older models list initializers among them)."""
    constants = {i.name for i in graph.initializer}
    return {value.name: _input_type(value) for value in graph.input if value.name not in constants}


def _input_type(value: "onnx.ValueInfoProto") -> Any:
    import onnx

    if not value.type.HasField("tensor_type"):
        raise UnsupportedModel(f"input '{value.name}' is not a tensor")
    field = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else 0 for d in field.shape.dim]
    if not field.HasField("shape") or any(d <= 0 for d in shape):
        raise InputError(_open_shape(value), fix="give --input_shapes [[1,3,224,224]]")
    try:
        return tensor(shape, storage_of_dtype(onnx.helper.tensor_dtype_to_np_dtype(field.elem_type)))
    except (KeyError, TypeError, ValueError):
        kinds = {number: name for name, number in onnx.TensorProto.DataType.items()}
        kind = kinds.get(field.elem_type, field.elem_type)
        raise UnsupportedModel(f"input '{value.name}' has elements of type {kind}") from None


def _open_shape(value: "onnx.ValueInfoProto") -> str:
    """Return what is wrong with the shape of an input: a size is open, or it has no elements."""
    sizes = value.type.tensor_type.shape.dim
    listed = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in sizes]
    if sizes and all(d.HasField("dim_value") and d.dim_value >= 0 for d in sizes):
        return f"input '{value.name}' has no elements, its shape is {listed}"
    return f"input '{value.name}' has no fixed shape: {listed}"
