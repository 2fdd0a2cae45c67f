"""An ONNX model as a graph, operators as they are: nothing is imported, so open shapes and any operator will do.

What the file says in several ways is brought to one: Constant nodes are constants like initializers, attributes that
are left out have their defaults, functions of the model are inlined, trailing absent operands are dropped.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stepdown.errors import InputError
from stepdown.formats.onnx.cost import UNCOUNTED, macs
from stepdown.formats.onnx.outline_attributes import attribute_parts, plain_attribute, port_names_of, with_defaults
from stepdown.formats.onnx.outline_constants import (
    DEFAULT_DOMAINS,
    constant_of_node,
    sparse_constant,
    tensor_constant,
    type_name,
)
from stepdown.formats.outline import Node, Outline, Sizes, Value

if TYPE_CHECKING:
    import onnx

Scope = dict[str, Value]
# What reading attributes of a wrong or of no type raises.
_MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError)


def outline_of_onnx(model: "onnx.ModelProto") -> Outline:
    """Return the graph of a model, with the shapes that onnx infers.

    Raises:
        InputError: a node reads a tensor that nothing before it makes, or a tensor is made twice.
    """
    whole = _inferred(_inlined(model))
    reader = _Reader({o.domain: o.version for o in whole.opset_import})
    inputs, outputs = reader.read(whole.graph, {}, "")
    uncounted = Counter(node.op for node in reader.nodes if node.op in UNCOUNTED)
    return Outline(inputs, outputs, reader.nodes, facts=_facts(model), uncounted=uncounted)


@dataclass
class _Reader:
    """Collects the nodes of a graph and of the bodies in it."""

    opsets: Mapping[str, int]
    nodes: list[Node] = field(default_factory=list)

    def read(self, graph: "onnx.GraphProto", outer: Scope, region: str) -> tuple[list[Value], list[Value]]:
        """Append the nodes of `graph`, which sees the tensors of `outer`; return its inputs and outputs."""
        known = _Shapes(graph)
        inputs = [known.value(v.name) for v in true_inputs_of(graph)]
        scope = {**outer, **_constants(graph), **{v.name: v for v in inputs}}
        made = set(scope) - set(outer)
        for proto in graph.node:
            results = self._checked_node(proto, scope, known, region)
            for name, value in results.items():
                if name in made:
                    raise InputError(f"the tensor '{name}' is made twice", _where(proto))
                made.add(name)
                scope[name] = value
        outputs = [_lookup(scope, v.name, f"output '{v.name}'") for v in graph.output]
        return inputs, [value for value in outputs if value is not None]

    def _checked_node(self, proto: "onnx.NodeProto", scope: Scope, known: "_Shapes", region: str) -> Scope:
        try:
            return self._node(proto, scope, known, region)
        except _MALFORMED as error:
            raise InputError(f"is malformed ({str(error) or type(error).__name__})", _where(proto)) from error

    def _node(self, proto: "onnx.NodeProto", scope: Scope, known: "_Shapes", region: str) -> Scope:
        if constant := constant_of_node(proto):
            return {proto.output[0]: constant}
        operands = [_lookup(scope, name, _where(proto)) for name in _trimmed(proto.input)]
        results = {name or f"#{i}": known.value(name) for i, name in enumerate(_trimmed(proto.output))}
        ports = {str(i): value for i, value in enumerate(operands)}
        attributes = self._attributes(proto, scope, region, ports)
        self.nodes.append(self._made(proto, ports, tuple(results.values()), attributes, region))
        return {name: value for name, value in results.items() if not name.startswith("#")}

    def _made(
        self, proto: "onnx.NodeProto", ports: Mapping[str, Value | None], results: tuple[Value, ...],
        attributes: dict[str, Any], region: str,
    ) -> Node:  # fmt: skip
        plain = proto.domain in DEFAULT_DOMAINS
        operands, schema = tuple(ports.values()), self._schema(proto)
        node = Node(
            proto.op_type if plain else f"{proto.domain}.{proto.op_type}",
            proto.name or next(iter(proto.output), proto.op_type),
            operands,
            results,
            with_defaults(proto, attributes, schema, operands),
            tuple(ports),
            port_names_of(schema),
            tuple(attributes),
            region,
            schema.since_version if schema else self.opsets.get(proto.domain, 0),
        )
        node.macs = macs(node.op, operands, results, node.attributes)
        return node

    def _attributes(
        self, proto: "onnx.NodeProto", scope: Scope, region: str, ports: dict[str, Value | None]
    ) -> dict[str, Any]:
        """Return the plain attributes; tensors and bodies among them become operands in `ports`."""
        import onnx

        plain: dict[str, Any] = {}
        for attribute in proto.attribute:
            held = onnx.helper.get_attribute_value(attribute)
            for place, item in attribute_parts(attribute.name, held):
                if isinstance(item, onnx.GraphProto):
                    self._body(item, scope, region, place, ports)
                else:
                    ports[place] = tensor_constant(item)
            if not attribute_parts(attribute.name, held):
                plain[attribute.name] = plain_attribute(held)
        return plain

    def _body(
        self, graph: "onnx.GraphProto", scope: Scope, region: str, place: str, ports: dict[str, Value | None]
    ) -> None:
        inputs, outputs = self.read(graph, scope, f"{region}/{place}")
        ports.update({f"{place} input {i}": value for i, value in enumerate(inputs)})
        ports.update({f"{place} output {i}": value for i, value in enumerate(outputs)})

    def _schema(self, proto: "onnx.NodeProto") -> "onnx.defs.OpSchema | None":
        import onnx

        domain = "" if proto.domain in DEFAULT_DOMAINS else proto.domain
        version = self.opsets.get(domain, self.opsets.get("ai.onnx", 0) if not domain else 0)
        try:
            return onnx.defs.get_schema(proto.op_type, version, domain)
        except onnx.defs.SchemaError:
            return None


class _Shapes:
    """What a graph says of the shapes and types of its tensors."""

    def __init__(self, graph: "onnx.GraphProto") -> None:
        self._known = {v.name: v for v in (*graph.value_info, *graph.output, *graph.input)}

    def value(self, name: str) -> Value:
        """Return a new value for the tensor `name`."""
        stated = self._known.get(name)
        if stated is None or not stated.type.HasField("tensor_type"):
            return Value(name)
        kind = stated.type.tensor_type
        return Value(name, _sizes(kind) if kind.HasField("shape") else None, type_name(kind.elem_type))


def true_inputs_of(graph: "onnx.GraphProto") -> "list[onnx.ValueInfoProto]":
    """Return the inputs of a graph that are not initializers."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def _inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    if not model.functions:
        return model
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the C++ side raises its own
        raise InputError(f"its functions cannot be inlined ({error})") from error


def _inferred(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the model with the shapes that follow from those it states; as it is where onnx cannot tell."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # the C++ side raises its own
        return model


def _facts(model: "onnx.ModelProto") -> dict[str, Any]:
    opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    stated = {
        "name": model.graph.name,
        "producer": " ".join(filter(None, [model.producer_name, model.producer_version])),
        "opset": ", ".join(f"{domain} {version}" for domain, version in opsets.items()),
        "ir_version": model.ir_version,
        **{entry.key: entry.value for entry in model.metadata_props},
    }
    return {key: value for key, value in stated.items() if value}


def _constants(graph: "onnx.GraphProto") -> Scope:
    stored: Scope = {tensor.name: tensor_constant(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        stored[sparse.values.name] = sparse_constant(sparse)
    return stored


def _sizes(kind: "onnx.TypeProto.Tensor") -> Sizes:
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim)


def _lookup(scope: Scope, name: str, where: str) -> Value | None:
    if not name:
        return None
    if name not in scope:
        raise InputError(f"reads the tensor '{name}' that nothing before it makes", where)
    return scope[name]


def _trimmed(names: Any) -> list[str]:
    """Return names without the empty ones at the end."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found


def _where(proto: "onnx.NodeProto") -> str:
    return f"node {proto.op_type} '{proto.name}'"
