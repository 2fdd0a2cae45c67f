"""What a picture of a graph shows: a box with some lines of text for every input, node and output, and the edges."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepdown.formats.outline import Constant, Node, Outline, Value, quantization_text, type_text

LONGEST_LINE = 46
_LONGEST_LIST = 8


@dataclass(frozen=True)
class Box:
    """A box: its lines, the first of which says what it is; `type` is that of its first tensor; round for the ends."""

    lines: tuple[str, ...]
    type: str = ""
    round: bool = False


@dataclass(frozen=True)
class Edge:
    """Box `target` reads, as its operand number `place`, what box `source` makes."""

    source: int
    target: int
    place: int
    label: str


@dataclass(frozen=True)
class Picture:
    """Boxes, such that every edge leads to a later one."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


def picture_of(outline: Outline) -> Picture:
    """Return the boxes and edges of a graph; constants are lines in the boxes that read them."""
    sources = [*outline.inputs, *outline.body_inputs]
    boxes = [Box(("input", *_tensor_lines(v)), v.type, True) for v in outline.inputs]
    boxes += [Box(("body input", *_tensor_lines(v)), v.type, True) for v in outline.body_inputs]
    place = {value: number for number, value in enumerate(sources)}
    edges: list[Edge] = []
    for node in outline.nodes:
        edges += _edges(node, place, len(boxes))
        place.update((value, len(boxes)) for value in node.results)
        boxes.append(_node_box(node))
    for number, value in enumerate(outline.outputs):
        if value in place:
            edges.append(Edge(place[value], len(boxes), 0, ""))
        boxes.append(Box((f"output {number}", *_tensor_lines(value)), value.type, True))
    return Picture(tuple(boxes), tuple(edges))


def _edges(node: Node, place: dict[Value, int], target: int) -> Iterator[Edge]:
    named = [(port, v) for port, v in zip(node.ports, node.operands, strict=True) if v in place]
    for number, (port, value) in enumerate(named):
        assert value is not None
        yield Edge(place[value], target, number, node.port_names.get(port, port) if len(named) > 1 else "")


def _tensor_lines(value: Value) -> tuple[str, ...]:
    plain = Value("", value.shape, value.type)
    return tuple(shortened(line) for line in (value.name, type_text(plain), quantization_text(value)) if line)


def _node_box(node: Node) -> Box:
    first = node.results[0] if node.results else Value(node.name)
    more = [type_text(value) for value in node.results[1:]]
    lines = [node.op, shortened(node.name), *_tensor_lines(first)[1:], *more]
    lines += [f"in {node.region}"] if node.region else []
    lines += [f"{name} {_value_text(node.attributes[name])}" for name in sorted(node.stated)]
    lines += _weight_lines(node)
    return Box(tuple(shortened(line) for line in lines), first.type)


def _weight_lines(node: Node) -> Iterator[str]:
    for port, value in zip(node.ports, node.operands, strict=True):
        if isinstance(value, Constant):
            yield f"{node.port_names.get(port, port)}: {type_text(value)}"


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        more = "…" if len(value) > _LONGEST_LIST else ""
        return ",".join(map(_value_text, value[:_LONGEST_LIST])) + more
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shortened(line: str) -> str:
    """Return a line of at most `LONGEST_LINE` characters: of a longer one, its beginning and its end."""
    flat = " ".join(line.split())
    half = LONGEST_LINE // 2
    return flat if len(flat) <= LONGEST_LINE else f"{flat[: half - 1]}…{flat[-half:]}"
