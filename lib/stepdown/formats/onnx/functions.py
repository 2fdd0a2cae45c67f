"""Operators that the ONNX standard defines by a graph of others: imported as that graph.

Source: the function bodies of the operator schemas, as the `onnx` package holds them for each version.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp, fused_of, is_internal, location
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import is_none, shape_of, storage_of
from stepdown.formats.onnx.attributes import attribute_proto, attribute_value
from stepdown.formats.onnx.exporter import ELEMENT_TYPES
from stepdown.formats.onnx.node import InnerNode, Node
from stepdown.formats.onnx.rules import RULES

if TYPE_CHECKING:
    import onnx

PREVIEW_DOMAIN = "ai.onnx.preview"


class BodyNode(InnerNode):
    """A node inside the body of `outer`: its tensors are not in the source model."""

    def __init__(self, outer: Node, opset: int, proto: "onnx.NodeProto") -> None:
        given = {a.name: attribute_value(a) for a in _bound(proto, outer)}
        inputs, outputs = ([inner_name(outer, n) for n in names] for names in (proto.input, proto.output))
        super().__init__(outer.graph, proto.op_type, inputs, outputs, given)
        self._opset = opset

    @property
    def opset(self) -> int:
        """The version of the operator set that the body is written in."""
        return self._opset

    def tensor_name(self, output: str) -> str:
        """Return `<output of the outer node>/<tensor of the body>`."""
        return output


def inner_name(outer: Node, name: str) -> str:
    """Return what a tensor of the body is called, '' for an absent one."""
    return name and f"{outer.name}/{name}"


def expand(node: Node) -> list[SSAValue]:
    """Import the nodes of an operator's body; return the values of the node's outputs.

    Raises:
        UnsupportedModel: the standard gives this version no body, or we cannot import a node of it.
    """
    body = _body(node)
    values = node.graph.values
    opset = max((o.version for o in body.opset_import if o.domain in ("", "ai.onnx")), default=node.opset)
    for index, formal in enumerate(body.input):
        values[inner_name(node, formal)] = node.value(index)
    for proto in body.node:
        _import(node, BodyNode(node, opset, proto))
    wanted = zip(node.outputs, body.output, strict=False)
    results = [values[inner_name(node, formal)] if output else node.graph.none for output, formal in wanted]
    for name in {n for proto in body.node for n in proto.output} | set(body.input):
        values.pop(inner_name(node, name), None)
    return [_named(node, output, value) for output, value in zip(node.outputs, results, strict=True)]


def _import(outer: Node, inner: BodyNode) -> None:
    if inner.op_type not in RULES:
        raise outer.refuse(f"is made of {inner.op_type}, which is not supported")
    made = RULES[inner.op_type](inner)
    results = [made] if isinstance(made, SSAValue) else list(made)
    inner.graph.values.update({n: v for n, v in zip(inner.outputs, results, strict=False) if n})


def _named(node: Node, output: str, value: SSAValue) -> SSAValue:
    """Give an output its name in the source model; one that is an operand, or another output, is an alias of it."""
    owner = value.owner
    if not output or not isinstance(owner, TensorOp) or isinstance(owner, Weight):
        return value
    name = node.tensor_name(output)
    if is_internal(owner) and len(owner.results) == 1:
        owner.location = location([name], fused_of(owner))
    elif owner.names != [name]:
        node.graph.aliases[output] = name
    return value


def _bound(proto: "onnx.NodeProto", outer: Node) -> "list[onnx.AttributeProto]":
    """Return the attributes of a node of the body, those that refer to the outer node's replaced by their values."""
    found = []
    for attribute in proto.attribute:
        _rename(attribute.g, outer)
        if not attribute.ref_attr_name:
            found.append(attribute)
        elif attribute.ref_attr_name in outer.attributes:
            found.append(attribute_proto(attribute.name, outer.attributes[attribute.ref_attr_name]))
    return found


def _rename(graph: "onnx.GraphProto", outer: Node) -> None:
    """Give the tensors of a graph inside the body the names that they have in the program."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = inner_name(outer, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inner_name(outer, name) for name in names]
        for attribute in node.attribute:
            _rename(attribute.g, outer)


def _body(node: Node) -> "onnx.FunctionProto":
    from onnx import FunctionProto, defs

    domain = "" if defs.has(node.op_type) else PREVIEW_DOMAIN
    try:
        schema = defs.get_schema(node.op_type, node.opset, domain)
    except defs.SchemaError:
        raise node.refuse(f"operator set {node.opset} does not have it") from None
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= max(node.opset, schema.since_version)]
        return FunctionProto.FromString(schema.get_function_with_opset_version(max(versions)))
    if not schema.has_context_dependent_function:
        raise node.refuse(f"version {schema.since_version} of the operator is not supported")
    raw = schema.get_context_dependent_function(_proto(node, schema).SerializeToString(), _types(node))
    return FunctionProto.FromString(raw)


def _proto(node: Node, schema: "onnx.defs.OpSchema") -> "onnx.NodeProto":
    """Return the node as ONNX text has it, with the defaults of absent attributes."""
    from onnx import helper

    made = helper.make_node(node.op_type, node.inputs, node.outputs)
    made.attribute.extend(attribute_proto(name, value) for name, value in node.attributes.items())
    for name, declared in schema.attributes.items():
        if name not in node.attributes and declared.default_value.name:
            made.attribute.append(declared.default_value)
    return made


def _types(node: Node) -> Sequence[bytes]:
    from onnx import TypeProto, helper

    known = [
        TypeProto() if is_none(v) else helper.make_tensor_type_proto(ELEMENT_TYPES[storage_of(v)], shape_of(v))
        for v in node.values()
    ]
    return [kind.SerializeToString() for kind in known]
