"""Graphs as protobuf text in the structure of an ONNX model: nodes, attributes, shapes; large weights are left out.

Any other graph is told with our operators, domain `top` or `tpu`; what ONNX has no field for (scales, ranges,
the file's own facts) stands in `metadata_props`. `google.protobuf.text_format` reads it back.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stepdown.formats.outline import Constant, Node, Outline, Value

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 64
"""Constants with more elements are told by type and shape alone."""
_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_TYPES = {"f32": "FLOAT", "f64": "DOUBLE", "f16": "FLOAT16", "bf16": "BFLOAT16", "i1": "BOOL", "?": "UNDEFINED"}


def model_text(model: "onnx.ModelProto") -> str:
    """Return an ONNX model as text, without the values of large tensors."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in _tensors(copy.graph):
        if _count(tensor.dims) > MAX_ELEMENTS:
            _drop_values(tensor)
    return _text(copy)


def outline_text(outline: Outline) -> str:
    """Return any graph as the text of an ONNX model that has its operators."""
    import onnx

    facts = dict(outline.facts)
    model = onnx.ModelProto(ir_version=onnx.IR_VERSION, producer_name="stepdown")
    model.graph.name = str(facts.pop("name", ""))
    model.graph.input.extend(_value(v) for v in outline.inputs)
    model.graph.output.extend(_value(v) for v in outline.outputs)
    ends = {*outline.inputs, *outline.outputs}
    model.graph.value_info.extend(_value(v) for n in outline.nodes for v in n.results if v not in ends)
    model.graph.initializer.extend(_constant(c) for c in outline.constants)
    model.graph.node.extend(_node(n) for n in outline.nodes)
    for name, how in outline.preprocessing.items():
        facts[f"preprocessing of {name}"] = ", ".join(f"{k}={v}" for k, v in how.items())
    _note(model, {**facts, **outline.quantization})
    return _text(model)


def _text(message: "onnx.ModelProto") -> str:
    from google.protobuf import text_format

    return text_format.MessageToString(message, as_utf8=True)


def _tensors(graph: "onnx.GraphProto") -> "Iterator[onnx.TensorProto]":
    """Yield every stored tensor of a graph and of the bodies in it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for body in (attribute.g, *attribute.graphs):
                yield from _tensors(body)


def _drop_values(tensor: "onnx.TensorProto") -> None:
    for name in _DATA_FIELDS:
        tensor.ClearField(name)


def _count(dims: Any) -> int:
    total = 1
    for size in dims:
        total *= size
    return total


def _element(type_name: str) -> int:
    """Return ONNX's number of one of our types, that of UNDEFINED for a type that ONNX does not know."""
    import onnx

    name = _TYPES.get(type_name) or type_name.upper().replace("I", "INT").replace("U", "UINT", 1)
    known = dict(onnx.TensorProto.DataType.items())
    return known.get(name, onnx.TensorProto.UNDEFINED)


def _value(value: Value) -> "onnx.ValueInfoProto":
    import onnx

    found = onnx.ValueInfoProto(name=value.name)
    found.type.tensor_type.elem_type = _element(value.type)
    if value.shape is not None:
        found.type.tensor_type.shape.SetInParent()
        for size in value.shape:
            dim = found.type.tensor_type.shape.dim.add()
            if size is not None:
                dim.dim_value = size
    _note(found, _quantization(value))
    return found


def _quantization(value: Value) -> dict[str, Any]:
    params = value.quantization
    found: dict[str, Any] = {}
    if params:
        found = {"scale": params.scale, "zero_point": params.zero_point}
        found |= {} if params.axis is None else {"axis": params.axis}
    if value.range:
        found["range"] = value.range
    return found


def _constant(constant: Constant) -> "onnx.TensorProto":
    import onnx

    tensor = onnx.TensorProto(name=constant.name, dims=constant.shape, data_type=_element(constant.type))
    if (constant.count or 0) <= MAX_ELEMENTS:
        tensor.raw_data = constant.raw
    _note(tensor, _quantization(constant))
    return tensor


def _node(node: Node) -> "onnx.NodeProto":
    import onnx

    domain, _, op = node.op.rpartition(".")
    made = onnx.NodeProto(op_type=op, domain=domain, name=node.name)
    made.input.extend("" if v is None else v.name for v in node.operands)
    made.output.extend(v.name for v in node.results)
    for name in sorted(node.stated):
        held = node.attributes[name]
        if held != ():
            made.attribute.append(onnx.helper.make_attribute(name, int(held) if isinstance(held, bool) else held))
    return made


def _note(message: Any, facts: Mapping[str, Any]) -> None:
    for key, value in facts.items():
        entry = message.metadata_props.add()
        entry.key, entry.value = key, _plain(value)


def _plain(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
