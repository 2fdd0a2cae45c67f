"""A layered layout: where boxes and edges lie so that every edge leads down and nothing overlaps.

Layers by longest path; an edge over several layers gets a narrow place of its own in each; the order in a layer by
barycentres, places by least squares under the order. Source: K. Sugiyama et al., Methods for visual understanding of
hierarchical system structures (1981).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stepdown.compare.graph_boxes import Picture

Size = tuple[float, float]
ROW_GAP, COLUMN_GAP = 34.0, 18.0
_EDGE_WIDTH = 6.0
_SWEEPS = 12


@dataclass(frozen=True)
class Place:
    """Where a box lies: its centre, the top of its layer, its size, and the height of its layer."""

    x: float
    top: float
    width: float
    height: float
    layer_height: float


@dataclass(frozen=True)
class Layout:
    """The places of the boxes; by edge, the points (x, top, bottom) that it goes straight down through."""

    places: tuple[Place, ...]
    routes: tuple[tuple[tuple[float, float, float], ...], ...]
    width: float
    height: float


def layout(picture: Picture, sizes: Sequence[Size]) -> Layout:
    """Return where everything lies; `sizes` are those of the boxes."""
    grid = _Grid(picture, sizes)
    grid.order()
    centers = grid.columns()
    tops, heights = grid.rows()
    places = tuple(
        Place(centers[v], tops[grid.layer[v]], *size, heights[grid.layer[v]]) for v, size in enumerate(sizes)
    )
    routes = tuple(
        tuple((centers[v], tops[grid.layer[v]], tops[grid.layer[v]] + heights[grid.layer[v]]) for v in chain)
        for chain in grid.chains
    )
    right = max((centers[v] + w / 2 for v, w in enumerate(grid.widths)), default=0.0)
    return Layout(places, routes, right, tops[-1] + heights[-1] if tops else 0.0)


class _Grid:
    """Items (boxes first, then the places of long edges) in layers."""

    def __init__(self, picture: Picture, sizes: Sequence[Size]) -> None:
        self.sizes = sizes
        self.widths = [width for width, _ in sizes]
        self.layer = _layers(picture)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.chains = [self._chain(edge.source, edge.target) for edge in picture.edges]
        self.rows_of: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for item, layer in enumerate(self.layer):
            self.rows_of[layer].append(item)

    def _chain(self, source: int, target: int) -> list[int]:
        """Add an item for every layer that the edge passes; return them."""
        chain = []
        last = source
        for layer in range(self.layer[source] + 1, self.layer[target]):
            item = len(self.widths)
            self.widths.append(_EDGE_WIDTH)
            self.layer.append(layer)
            self.above.append([])
            self.below.append([])
            self._join(last, item)
            chain.append(item)
            last = item
        self._join(last, target)
        return chain

    def _join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def order(self) -> None:
        """Order every layer by the mean place of what its items are joined to, down and up in turns."""
        place = {item: float(i) for row in self.rows_of for i, item in enumerate(row)}
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            joined = self.above if down else self.below
            for row in self.rows_of if down else reversed(self.rows_of):
                row.sort(key=lambda item: _mean([place[j] for j in joined[item]], place[item]))
                place.update((item, float(i)) for i, item in enumerate(row))

    def columns(self) -> list[float]:
        """Return the centres: near the mean of what an item is joined to, in order, without overlaps."""
        x = [0.0] * len(self.widths)
        for row in self.rows_of:
            self._put(row, x, [0.0] * len(row))
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            joined = self.above if down else self.below
            for row in self.rows_of if down else reversed(self.rows_of):
                self._put(row, x, [_mean([x[j] for j in joined[item]], x[item]) for item in row])
        left = min((x[v] - width / 2 for v, width in enumerate(self.widths)), default=0.0)
        return [center - left for center in x]

    def _put(self, row: list[int], x: list[float], wanted: list[float]) -> None:
        gaps = [(self.widths[a] + self.widths[b]) / 2 + COLUMN_GAP for a, b in pairwise(row)]
        for item, center in zip(row, spaced(wanted, gaps), strict=True):
            x[item] = center

    def rows(self) -> tuple[list[float], list[float]]:
        """Return top and height of every layer."""
        boxes = len(self.sizes)
        heights = [max((self.sizes[v][1] for v in row if v < boxes), default=0.0) for row in self.rows_of]
        tops = [sum(heights[:i]) + i * ROW_GAP for i in range(len(heights))]
        return tops, heights


def _layers(picture: Picture) -> list[int]:
    """Return the layer of every box: below all that it reads; what no input goes into stands right above its reader."""
    layer = [0] * len(picture.boxes)
    readers: dict[int, list[int]] = {}
    driven: set[int] = set()
    reading = {edge.target for edge in picture.edges}
    for edge in sorted(picture.edges, key=lambda edge: edge.target):
        layer[edge.target] = max(layer[edge.target], layer[edge.source] + 1)
        readers.setdefault(edge.source, []).append(edge.target)
        if edge.source in driven or (picture.boxes[edge.source].round and edge.source not in reading):
            driven.add(edge.target)
    for box in sorted(set(readers) - driven, reverse=True):
        layer[box] = min(layer[reader] for reader in readers[box]) - 1
    return layer


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def spaced(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Return the increasing places nearest to `wanted`, in least squares, that are at least `gaps` apart.

    Source: pool adjacent violators, R. Barlow et al., Statistical inference under order restrictions (1972).
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=False):
        mean, size = value - offset, 1
        while pools and pools[-1][0] >= mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]
