"""Colours of the vertices of two graphs: vertices with different colours are certainly not twins.

Weisfeiler–Lehman refinement along operands and users. As the graphs have no cycles, a sweep in the order of the nodes
takes in all that a vertex depends on, and one against it all that depends on the vertex, so that a few sweeps do what
would else take as many rounds as the graph is deep.
Source: B. Weisfeiler, A. Lehman, The reduction of a graph to canonical form (1968).
"""

from collections.abc import Hashable

from stepdown.compare.topology_side import Side

Colors = dict[int, int]
_OUTPUT = -1


class Palette:
    """Gives equal numbers to equal descriptions, across both graphs."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def color(self, description: Hashable) -> int:
        """Return the number of a description."""
        return self._numbers.setdefault(description, len(self._numbers))


def refine(a: Side, b: Side, marks_a: Colors, marks_b: Colors) -> tuple[list[int], list[int]]:
    """Return the colours of both graphs, refined until they stay; marked vertices begin with a colour of their own."""
    palette = Palette()
    sides = ((a, marks_a), (b, marks_b))
    colors = [[palette.color((label, marks.get(v))) for v, label in enumerate(s.labels)] for s, marks in sides]
    while True:
        before = len({*colors[0], *colors[1]})
        colors = [upwards(s, downwards(s, c, palette), palette) for (s, _), c in zip(sides, colors, strict=True)]
        if len({*colors[0], *colors[1]}) == before:
            return colors[0], colors[1]


def origins(a: Side, b: Side) -> tuple[list[int], list[int]]:
    """Return colours that say what each vertex is computed from, and nothing of who reads it."""
    palette = Palette()
    found = [downwards(s, [palette.color(label) for label in s.labels], palette) for s in (a, b)]
    return found[0], found[1]


def downwards(side: Side, colors: list[int], palette: Palette) -> list[int]:
    """Return colours that take in everything a vertex depends on."""
    found: list[int] = []
    for color, operands in zip(colors, side.operands, strict=True):
        read = tuple((o.port, o.index, o.key, -1 if o.vertex is None else found[o.vertex]) for o in operands)
        found.append(palette.color((color, read)))
    return found


def upwards(side: Side, colors: list[int], palette: Palette) -> list[int]:
    """Return colours that take in everything that depends on a vertex."""
    found = list(colors)
    for vertex in reversed(range(len(colors))):
        readers = sorted((_OUTPUT if u == _OUTPUT else found[u], port, index) for u, port, index in side.users[vertex])
        found[vertex] = palette.color(("used", colors[vertex], tuple(readers)))
    return found
