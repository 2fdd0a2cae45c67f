"""The first difference of two graphs that are not the same: what both sides have at the place where they part."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stepdown.compare.topology_colors import origins, refine
from stepdown.compare.topology_side import Origin, Side
from stepdown.formats.outline import Constant, Node, Value, quantization_text, type_text

_SHOWN = 4


@dataclass(frozen=True)
class Difference:
    """Where the graphs part: the kind of difference, what each side has there, and what leads to it."""

    kind: str
    a: str
    b: str
    detail: str = ""


def first_difference(a: Side, b: Side) -> Difference:
    """Return the first difference in the order of the nodes of `a`; of two graphs that are known to differ."""
    checks: tuple[Callable[[Side, Side], Difference | None], ...] = (_ends, _parting, _outputs, _readers, _profiles)
    for check in checks:
        if found := check(a, b):
            return found
    return Difference(
        "wiring", "", "", "no mapping fits, though every node has its like: alike parts are wired otherwise"
    )


def _ends(a: Side, b: Side) -> Difference | None:
    """Compare the inputs, and how many outputs there are."""
    for what in ("input", "output"):
        left, right = (getattr(side.outline, f"{what}s") for side in (a, b))
        if len(left) != len(right):
            return Difference(f"{what}s", _named(left), _named(right), f"{len(left)} and {len(right)} {what}s")
    for number, (x, y) in enumerate(zip(a.outline.inputs, b.outline.inputs, strict=True)):
        if a.labels[number] != b.labels[number]:
            stored = "" if type_text(x) != type_text(y) else "their preprocessing differs"
            return Difference("input", _tensor(x), _tensor(y), stored or f"input {number} has another type")
    return None


def _parting(a: Side, b: Side) -> Difference | None:
    """Return the first node whose like, computed from the same things, the other graph does not have."""
    colors_a, colors_b = origins(a, b)
    lone_a, lone_b = _unmatched(colors_a, colors_b), _unmatched(colors_b, colors_a)
    if not lone_a and not lone_b:
        return None
    if not lone_a:
        return Difference("extra node", "nothing", _text(b, lone_b[0]), _leads(b, lone_b[0]))
    first = lone_a[0]
    twin = _nearest(a, b, first, lone_b, colors_a, colors_b)
    if twin is None:
        return Difference("extra node", _text(a, first), "nothing", _leads(a, first))
    return _between(a, b, first, twin, (colors_a, colors_b))


def _unmatched(mine: list[int], others: list[int]) -> list[int]:
    """Return the vertices, in order, for whose colour the other graph has no vertex left."""
    left = Counter(others)
    found = []
    for vertex, color in enumerate(mine):
        if left[color]:
            left[color] -= 1
        else:
            found.append(vertex)
    return found


def _nearest(
    a: Side, b: Side, vertex: int, candidates: list[int], colors_a: list[int], colors_b: list[int]
) -> int | None:
    """Return the candidate that stands at the same place: it reads the same things, or is the most alike."""
    lone = set(candidates)

    def likeness(candidate: int) -> tuple[int, ...]:
        at_edge = all(o.vertex not in lone for o in b.operands[candidate])
        x, y = a.node(vertex), b.node(candidate)
        same_op = x is not None and y is not None and x.op == y.op
        read = Counter(_sources(a, vertex, colors_a)), Counter(_sources(b, candidate, colors_b))
        label = a.labels[vertex] == b.labels[candidate]
        return (at_edge, (read[0] & read[1]).total(), same_op, label, -candidate)

    return max(candidates, key=likeness, default=None)


def _sources(side: Side, vertex: int, colors: list[int]) -> Iterator[object]:
    """Yield what a vertex reads, wherever it reads it."""
    for origin in side.operands[vertex]:
        if origin.vertex is not None:
            yield (colors[origin.vertex], origin.index)
        elif origin.constant is not None:
            yield origin.key


def _between(a: Side, b: Side, vertex: int, twin: int, colors: tuple[list[int], list[int]]) -> Difference:
    """Return in what two nodes differ that stand at the same place."""
    x, y = a.node(vertex), b.node(twin)
    assert x is not None and y is not None
    said = _text(a, vertex), _text(b, twin)
    if x.op != y.op or x.region != y.region:
        return Difference("operator", *said, _leads(a, vertex))
    if a.labels[vertex] != b.labels[twin]:
        return Difference("attribute", *said, "; ".join((*_attributes(x, y), *_results(a, x, y))))
    return _operands(a, b, vertex, twin, colors) or Difference("count", *said, "it occurs more often in one of them")


def _attributes(x: Node, y: Node) -> Iterator[str]:
    for name in sorted({*x.attributes, *y.attributes}):
        left, right = (repr(node.attributes.get(name, "absent")) for node in (x, y))
        if left != right:
            yield f"attribute {name} is {left} and {right}"
    if x.version != y.version:
        yield f"the operator's version is {x.version} and {y.version}"


def _results(a: Side, x: Node, y: Node) -> Iterator[str]:
    if len(x.results) != len(y.results):
        yield f"{len(x.results)} and {len(y.results)} results"
    elif a.outline.typed:
        for left, right in zip(x.results, y.results, strict=True):
            if a.type_of(left) != a.type_of(right):
                yield f"the result is {_exact(left)} and {_exact(right)}"


def _exact(value: Value) -> str:
    """Return type and quantisation, scales in all their digits."""
    params = value.quantization
    scale = f" (exactly {params.scale!r})" if params and not isinstance(params.scale, tuple) else ""
    return type_text(value) + scale


def _operands(a: Side, b: Side, vertex: int, twin: int, colors: tuple[list[int], list[int]]) -> Difference | None:
    """Return the first operand that two nodes do not read from the same place."""
    node = a.node(vertex)
    assert node is not None
    left, right = ({o.port: o for o in side.operands[v]} for side, v in ((a, vertex), (b, twin)))
    for port in dict.fromkeys([*left, *right]):
        x, y = left.get(port, Origin(port)), right.get(port, Origin(port))
        if _read(x, colors[0]) != _read(y, colors[1]):
            return _operand(a, b, (_text(a, vertex), _text(b, twin)), _port(node, port), x, y)
    return None


def _read(origin: Origin, colors: list[int]) -> object:
    return (origin.key, origin.index, None if origin.vertex is None else colors[origin.vertex])


def _operand(a: Side, b: Side, said: tuple[str, str], port: str, x: Origin, y: Origin) -> Difference:
    if x.constant is not None and y.constant is not None:
        return Difference("weight", *said, f"{port}: {weights_differ(x.constant, y.constant)}")
    return Difference("edge", *said, f"{port} is {_source(a, x)} and {_source(b, y)}")


def weights_differ(x: Constant, y: Constant) -> str:
    """Return how two constants differ: in type, scale, or in how many values, and by how much."""
    names = f"'{x.name}' and '{y.name}'"
    if (x.type, x.shape) != (y.type, y.shape):
        return f"{names} are {type_text(x)} and {type_text(y)}"
    if (x.quantization, x.range) != (y.quantization, y.range):
        scales = [quantization_text(value) or "no scale" for value in (x, y)]
        return f"{names} have {scales[0]} and {scales[1]}, not the same"
    left, right = x.load().reshape(-1), y.load().reshape(-1)
    if left.dtype.kind not in "fiu" or left.shape != right.shape:
        return f"{names} hold other values"
    places = np.flatnonzero(left.view(f"u{left.itemsize}") != right.view(f"u{right.itemsize}"))
    at = tuple(map(int, np.unravel_index(places[0], x.load().shape))) if x.shape else ()
    gap = np.abs(left[places].astype(np.float64) - right[places].astype(np.float64)).max()
    return (
        f"{names} differ in {len(places)} of {left.size} values, by up to {gap:.6g}; "
        f"the first is at {list(at)}: {left[places[0]]} and {right[places[0]]}"
    )


def _outputs(a: Side, b: Side) -> Difference | None:
    """Compare where the outputs of the graphs come from."""
    colors_a, colors_b = origins(a, b)
    for number, (x, y) in enumerate(zip(a.outputs, b.outputs, strict=True)):
        if _read(x, colors_a) != _read(y, colors_b):
            if x.constant is not None and y.constant is not None:
                return Difference("weight", _source(a, x), _source(b, y), weights_differ(x.constant, y.constant))
            return Difference("output", _source(a, x), _source(b, y), f"output {number} comes from somewhere else")
    return None


def _readers(a: Side, b: Side) -> Difference | None:
    """Return the first node whose like is read by others."""
    colors_a, colors_b = refine(a, b, {}, {})
    lone_a, lone_b = _unmatched(colors_a, colors_b), _unmatched(colors_b, colors_a)
    if not lone_a:
        return None
    label = a.labels[lone_a[0]]
    twin = next((v for v in lone_b if b.labels[v] == label), lone_b[0])
    return Difference("users", _text(a, lone_a[0]), _text(b, twin), f"{_users(a, lone_a[0])} and {_users(b, twin)}")


def _profiles(a: Side, b: Side) -> Difference | None:
    """Compare how integers are computed, which a module says once for all its nodes."""
    if a.profile == b.profile:
        return None
    return Difference("profile", a.profile or "none", b.profile or "none", "the integer arithmetic is another one")


# --- texts


def _named(values: list[Value]) -> str:
    return ", ".join(f"'{value.name}'" for value in values) or "none"


def _tensor(value: Value) -> str:
    return f"'{value.name}' {type_text(value)}"


def _text(side: Side, vertex: int) -> str:
    node = side.node(vertex)
    if node is None:
        return f"input {_tensor(side.sources[vertex])}"
    where = f" in {node.region}" if node.region else ""
    return f"{node.op} '{node.name}'{where}"


def _leads(side: Side, vertex: int) -> str:
    """Return what a node reads, for people to find the place."""
    read = [_source(side, origin) for origin in side.operands[vertex] if origin.constant is None][:_SHOWN]
    return f"after {', '.join(read)}" if read else "at the beginning"


def _source(side: Side, origin: Origin) -> str:
    if origin.constant is not None:
        return f"constant '{origin.constant.name}' {type_text(origin.constant)}"
    if origin.vertex is None:
        return "absent"
    which = f"result {origin.index} of " if origin.index else ""
    return which + _text(side, origin.vertex)


def _port(node: Node, port: str) -> str:
    name = node.port_names.get(port, "")
    if not port.isdigit():
        return port
    return f"operand {port} ({name})" if name else f"operand {port}"


def _users(side: Side, vertex: int) -> str:
    users = side.users[vertex]
    read = [f"output {port}" if user < 0 else _text(side, user) for user, port, _ in users][:_SHOWN]
    more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
    return f"read by {', '.join(read) or 'nobody'}{more}"
