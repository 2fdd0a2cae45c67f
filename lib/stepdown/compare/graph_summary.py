"""What a graph amounts to: operators, multiply-accumulates, parameters, memory, quantised tensors."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stepdown.formats.outline import Constant, Node, Outline, Value, shape_text

_NO_PARAMETERS = ("i64", "i1", "string", "?")
"""Types of constants that are shapes, places and masks: they are not counted as parameters."""


@dataclass(frozen=True)
class Memory:
    """Bytes of the tensors between the nodes: all of them, and the most that live at once. None: shapes are open."""

    peak: int | None
    total: int | None


def macs(graph: Outline) -> int | None:
    """Return the multiply-accumulates of one run; None where the shapes that they need are open."""
    known = [node.macs for node in graph.nodes if node.macs is not None]
    return sum(known) if len(known) == len(graph.nodes) else None


def parameters(graph: Outline) -> int:
    """Return the number of elements of all constants but shapes, places and masks."""
    return sum(c.count or 0 for c in graph.constants if c.type not in _NO_PARAMETERS)


def weight_bytes(graph: Outline) -> int:
    """Return the bytes of all constants that are used."""
    return sum(c.bytes or 0 for c in graph.constants)


def memory(graph: Outline) -> Memory:
    """Return what the tensors take when nodes run in the order of the file and free what nobody reads any more."""
    tensors = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    if any(value.bytes is None for value in tensors):
        return Memory(None, None)
    last = _last_uses(graph)
    alive = peak = sum(_bytes(graph.inputs))
    for step, node in enumerate(graph.nodes):
        alive += sum(_bytes(node.results))
        peak = max(peak, alive)
        alive -= sum(_bytes(last.get(step, ())))
    return Memory(peak, sum(_bytes(tensors)))


def _last_uses(graph: Outline) -> dict[int, list[Value]]:
    """Return, by the number of a node, the tensors that nobody reads after it; outputs live on."""
    last: dict[Value, int] = {}
    for step, node in enumerate(graph.nodes):
        last.update((value, step) for value in (*node.results, *node.operands) if value is not None)
    found: dict[int, list[Value]] = {}
    for value, step in last.items():
        if not isinstance(value, Constant) and value not in graph.outputs:
            found.setdefault(step, []).append(value)
    return found


def _bytes(values: Iterable[Value]) -> Iterable[int]:
    return (value.bytes or 0 for value in values)


def types(graph: Outline) -> dict[str, int]:
    """Return how many tensors there are in each type, constants not counted, the most frequent first."""
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    return dict(Counter(_type(value) for value in values).most_common())


def _type(value: Value) -> str:
    return f"quantised {value.type}" if value.quantization else value.type


def quantization(graph: Outline) -> dict[str, Any]:
    """Return mode, chip and the like, how weights are scaled, and how operators of ONNX quantise."""
    scaled = [v.quantization for v in graph.constants if v.quantization]
    found: dict[str, Any] = dict(graph.quantization)
    operators = Counter(node.op for node in graph.nodes if "Quantize" in node.op or node.op.startswith("QLinear"))
    if operators:
        found["operators"] = dict(operators.most_common())
        steps = [c for c in _scales(graph.nodes) if c.count]
        found["per_channel"] = any((c.count or 0) > 1 for c in steps)
    elif scaled:
        found["per_channel"] = any(isinstance(q.scale, tuple) for q in scaled)
    calibrated = sum(value.range is not None for node in graph.nodes for value in node.results)
    return {**found, **({"calibrated_tensors": calibrated} if calibrated else {})}


def _scales(nodes: Iterable[Node]) -> list[Constant]:
    """Return the constant scales that QuantizeLinear, DequantizeLinear and the QLinear operators read."""
    named = [
        value
        for node in nodes
        for port, value in zip(node.ports, node.operands, strict=True)
        if node.port_names.get(port, "").endswith("scale") and isinstance(value, Constant)
    ]
    return [value for value in named if isinstance(value, Constant)]


def tensor_facts(value: Value) -> dict[str, Any]:
    """Return name, shape, type and quantisation of a tensor, as they stand in JSON."""
    facts: dict[str, Any] = {
        "name": value.name,
        "shape": None if value.shape is None else list(value.shape),
        "type": value.type,
    }
    if value.quantization:
        scale = value.quantization.scale
        facts["scale"] = list(scale) if isinstance(scale, tuple) else scale
        facts["zero_point"] = value.quantization.zero_point
        if value.quantization.axis is not None:
            facts["axis"] = value.quantization.axis
    if value.range:
        facts["range"] = list(value.range)
    return facts


def node_facts(node: Node) -> dict[str, Any]:
    """Return a row of the table of operators, as it stands in JSON."""
    constants = [v for v in node.operands if isinstance(v, Constant)]
    return {
        "op": node.op,
        "name": node.name,
        "inputs": [v.name for v in node.operands if v is not None and not isinstance(v, Constant)],
        "weights": [f"{v.name} {shape_text(v)}".strip() for v in constants],
        "outputs": [tensor_facts(v) for v in node.results],
        "macs": node.macs,
        "weight_bytes": sum(v.bytes or 0 for v in constants),
    }
