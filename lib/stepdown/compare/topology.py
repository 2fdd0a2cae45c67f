"""Whether two graphs are the same network: an exact mapping between them, or the first difference.

Names of tensors and nodes mean nothing, nor does the order of nodes that do not depend on each other. All else does:
inputs and outputs in their order, operators, attributes, the place of every operand, every value of every weight. A
constant is what it holds: one that two nodes share equals two with the same values.

Colours (`topology_colors`) tell candidates apart; where some remain alike, one pair after the other is tried; a mapping
counts only when every node, edge and weight has been compared along it.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from stepdown.compare.topology_colors import Colors, refine
from stepdown.compare.topology_difference import Difference, first_difference
from stepdown.compare.topology_side import Origin, Side
from stepdown.errors import ResourceError
from stepdown.formats.outline import Constant, Outline

MAX_TRIES = 10_000
"""How often a pair of alike nodes is tried before we give up."""
MAX_MARKS = 300
"""How many pairs may be tried at once."""


@dataclass(frozen=True)
class Comparison:
    """The result: `difference` is None where the graphs are the same; `renamed` are pairs of names of one tensor."""

    nodes: tuple[int, int]
    difference: Difference | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Operators that the two graphs do not have equally often."""

    @property
    def same(self) -> bool:
        """Whether the graphs are the same."""
        return self.difference is None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        return {
            "same": self.same,
            "nodes": list(self.nodes),
            "difference": None if self.difference is None else vars(self.difference),
            "renamed": [list(pair) for pair in self.renamed],
            "op_counts": {op: list(pair) for op, pair in self.counts.items()},
        }


def compare_outlines(a: Outline, b: Outline, ignore: Collection[str] = ()) -> Comparison:
    """Compare two graphs; `ignore` may hold "weights" (their values) and "attributes" (with scales and ranges).

    Raises:
        ResourceError: the graphs have so many parts alike that no answer was found in `MAX_TRIES` tries.
    """
    left, right = Side(a, ignore), Side(b, ignore)
    sizes = (len(a.nodes), len(b.nodes))
    mapping = find_mapping(left, right)
    if mapping is None:
        return Comparison(sizes, first_difference(left, right), (), _counts(a, b))
    return Comparison(sizes, renamed=tuple(_renamed(left, right, mapping)))


def find_mapping(a: Side, b: Side) -> list[int] | None:
    """Return, by vertex of `a`, its twin in `b`, verified; None where the graphs differ."""
    if not _same_ends(a, b):
        return None
    return _search(a, b, {}, {}, count())


def _same_ends(a: Side, b: Side) -> bool:
    ends = [(len(s.outline.inputs), len(s.outline.outputs), len(s.labels), s.profile) for s in (a, b)]
    return ends[0] == ends[1]


def _search(a: Side, b: Side, marks_a: Colors, marks_b: Colors, tries: "count[int]") -> list[int] | None:
    """Refine; where vertices remain alike, mark one of `a` and each of its candidates in turn."""
    if next(tries) > MAX_TRIES or len(marks_a) > MAX_MARKS:
        raise ResourceError("too many parts that no output needs are alike", fix="remove them from both graphs")
    colors_a, colors_b = refine(a, b, marks_a, marks_b)
    if Counter(colors_a) != Counter(colors_b):
        return None
    alike = _smallest_class(colors_a)
    if alike is None:
        place = {color: vertex for vertex, color in enumerate(colors_b)}
        mapping = [place[color] for color in colors_a]
        return mapping if is_isomorphism(a, b, mapping) else None
    mark = len(marks_a)
    chosen = colors_a.index(alike)
    for candidate in (vertex for vertex, color in enumerate(colors_b) if color == alike):
        found = _search(a, b, {**marks_a, chosen: mark}, {**marks_b, candidate: mark}, tries)
        if found is not None:
            return found
    return None


def _smallest_class(colors: list[int]) -> int | None:
    """Return the colour that the fewest vertices, but more than one, have; None where all differ."""
    sizes = {color: size for color, size in Counter(colors).items() if size > 1}
    return min(sizes, key=lambda color: (sizes[color], color)) if sizes else None


def is_isomorphism(a: Side, b: Side, mapping: list[int]) -> bool:
    """Tell whether `mapping`, from vertices of `a` to those of `b`, keeps labels, edges, weights and ends."""
    if sorted(mapping) != list(range(len(b.labels))):
        return False
    if any(mapping[i] != i for i in range(len(a.outline.inputs))):
        return False
    pairs = list(enumerate(mapping))
    return (
        all(a.labels[v] == b.labels[w] for v, w in pairs)
        and all(_same_origins(a, b, a.operands[v], b.operands[w], mapping) for v, w in pairs)
        and _same_origins(a, b, a.outputs, b.outputs, mapping)
    )


def _same_origins(a: Side, b: Side, left: list[Origin], right: list[Origin], mapping: list[int]) -> bool:
    return len(left) == len(right) and all(
        x.port == y.port and x.index == y.index and _same_source(a, x, y, mapping)
        for x, y in zip(left, right, strict=True)
    )


def _same_source(a: Side, x: Origin, y: Origin, mapping: list[int]) -> bool:
    if x.constant is not None and y.constant is not None:
        return x.key == y.key and (a.ignores_weights or same_bytes(x.constant, y.constant))
    if x.constant is not None or y.constant is not None:
        return False
    return y.vertex == (None if x.vertex is None else mapping[x.vertex])


def same_bytes(a: Constant, b: Constant) -> bool:
    """Tell whether two constants of one type and shape hold the same bytes."""
    return a is b or a.raw == b.raw


def _counts(a: Outline, b: Outline) -> dict[str, tuple[int, int]]:
    left, right = (Counter(node.op for node in outline.nodes) for outline in (a, b))
    return {op: (left[op], right[op]) for op in sorted(left | right) if left[op] != right[op]}


def _renamed(a: Side, b: Side, mapping: list[int]) -> Iterator[tuple[str, str]]:
    for vertex, twin in enumerate(mapping):
        for one, other in zip(a.results[vertex], b.results[twin], strict=True):
            if one.name != other.name:
                yield one.name, other.name
