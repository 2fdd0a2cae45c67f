"""One of two graphs that are compared: its vertices, what is written on them, and their edges."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stepdown.formats.outline import Constant, Node, Outline, Value


@dataclass(frozen=True)
class Origin:
    """Where what is read at `port` comes from: result `index` of a vertex, or a constant, or nothing.

    `key` is what is compared of a constant.
    """

    port: str
    vertex: int | None = None
    index: int = 0
    constant: Constant | None = None
    key: Hashable = None


class Side:
    """A graph prepared for comparison: vertices are its inputs, the inputs of bodies in it, and its nodes, in order."""

    def __init__(self, outline: Outline, ignore: Collection[str] = ()) -> None:
        self.outline = outline
        self.ignores_weights, self.ignores_attributes = "weights" in ignore, "attributes" in ignore
        self.sources = [*outline.inputs, *outline.body_inputs]
        self.profile = "" if self.ignores_attributes else str(outline.quantization.get("profile", ""))
        self.results: list[tuple[Value, ...]] = [(v,) for v in self.sources] + [n.results for n in outline.nodes]
        self._place = {value: (v, i) for v, made in enumerate(self.results) for i, value in enumerate(made)}
        self.operands: list[list[Origin]] = [[] for _ in self.sources] + [self._operands(n) for n in outline.nodes]
        self.outputs = [self._origin(str(i), value) for i, value in enumerate(outline.outputs)]
        self.labels: list[Hashable] = [self._input_label(i) for i in range(len(outline.inputs))]
        self.labels += ["body input"] * (len(self.sources) - len(outline.inputs))
        self.labels += [self._node_label(node) for node in outline.nodes]

    def node(self, vertex: int) -> Node | None:
        """Return the node of a vertex, None for an input."""
        first = len(self.sources)
        return self.outline.nodes[vertex - first] if vertex >= first else None

    @cached_property
    def users(self) -> list[list[tuple[int, str, int]]]:
        """By vertex, who reads it: (vertex, port, number of the result); outputs of the graph are vertex −1."""
        found: list[list[tuple[int, str, int]]] = [[] for _ in self.labels]
        for user, origins in [*enumerate(self.operands), (-1, self.outputs)]:
            for origin in origins:
                if origin.vertex is not None:
                    found[origin.vertex].append((user, origin.port, origin.index))
        return found

    def _operands(self, node: Node) -> list[Origin]:
        return [self._origin(port, value) for port, value in zip(node.ports, node.operands, strict=True)]

    def _origin(self, port: str, value: Value | None) -> Origin:
        if isinstance(value, Constant):
            return Origin(port, constant=value, key=self._constant_key(value))
        if value is None:
            return Origin(port)
        return Origin(port, *self._place[value])

    def _constant_key(self, constant: Constant) -> Hashable:
        digest = "" if self.ignores_weights else constant.digest
        return (constant.type, constant.shape, self._meaning(constant), digest)

    def _meaning(self, value: Value) -> Hashable:
        """Return scales and ranges, which count as attributes."""
        return None if self.ignores_attributes else (value.quantization, value.range)

    def type_of(self, value: Value) -> Hashable:
        """Return what of a tensor's type is compared."""
        return (value.shape, value.type, self._meaning(value))

    def _input_label(self, number: int) -> Hashable:
        value = self.outline.inputs[number]
        how = self.outline.preprocessing.get(value.name, {})
        return ("input", number, self.type_of(value), () if self.ignores_attributes else frozen(how))

    def _node_label(self, node: Node) -> Hashable:
        attributes = () if self.ignores_attributes else (node.version, frozen(node.attributes))
        made = tuple(map(self.type_of, node.results)) if self.outline.typed else len(node.results)
        return (node.op, node.region, made, attributes)


def frozen(attributes: Mapping[str, Any]) -> Hashable:
    """Return attributes as something that can be compared exactly: 1, 1.0, True and "1" all differ, NaN is NaN."""
    return tuple((name, _exact(value)) for name, value in sorted(attributes.items()))


def _exact(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple(_exact(item) for item in value)
    return (type(value).__name__, repr(value))
