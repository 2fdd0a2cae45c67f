"""The roofline: how fast ops multiply, over how often they use each byte that they move (Williams et al. 2009)."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepdown.compare.canvas import BLUE, GRID, INK, ORANGE, SOFT, Colour
from stepdown.perf.drawing import PALETTE, Box, Circle, Drawing, Line, Text, lighter, text_width
from stepdown.perf.tables import shortened
from stepdown.perf.totals import Figures, Totals

_WIDTH, _HEIGHT = 1120, 720
_BOX = (96, 84, 1088, 628)
_LABELS = 12
_COLOURS: dict[str, Colour] = {
    "compute": BLUE, "dma": ORANGE, "wait": SOFT, "host": PALETTE[3], "hidden": PALETTE[2],
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """An op: MACs for each byte moved, MACs a second of what is busiest, engine or transfers; its share of the time."""

    figures: Figures
    intensity: float
    rate: float
    share: float


@dataclass(frozen=True)
class Roof:
    """What the chip can do: MACs a second, and bytes a second of all its DMA engines."""

    macs: float
    bytes: float

    def at(self, intensity: float) -> float:
        """Return the most MACs a second."""
        return min(self.macs, self.bytes * intensity)


def roof_of(totals: Totals) -> Roof:
    """Return the roof of the types that the network computes in."""
    chip = totals.account.chip
    peak = max((each.per_cycle for each in totals.ops), default=0) or max(chip.macs_per_cycle.values())
    return Roof(peak * chip.clock_hz, chip.dma_bytes_per_cycle * chip.clock_hz)


def points_of(totals: Totals) -> list[Point]:
    """Return the ops that multiply and move bytes."""
    clock, cycles = totals.account.chip.clock_hz, max(1, totals.account.cycles)
    return [
        Point(each, each.macs / each.bytes, each.macs * clock / each.busiest, each.cycles / cycles)
        for each in totals.ops
        if each.macs and each.bytes
    ]


def roofline(totals: Totals) -> Drawing:
    """Return the picture."""
    drawing, points, roof = Drawing(_WIDTH, _HEIGHT), points_of(totals), roof_of(totals)
    axes = _axes(points, roof)
    drawing.add(Text(24, 34, f"Roofline of {totals.account.title}", INK, 19))
    drawing.add(Text(24, 57, _subtitle(totals, points), SOFT))
    drawing.add(*_grid(axes), *_roofs(axes, roof))
    drawing.add(*(_circle(axes, point) for point in sorted(points, key=lambda point: -point.share)))
    drawing.add(*_labels(axes, points, roof), *_legend())
    return drawing


def write_roofline(path: str | os.PathLike[str], totals: Totals) -> None:
    """Write the picture as PNG."""
    roofline(totals).write_png(path)


@dataclass(frozen=True)
class _Axes:
    """Logarithmic axes: exponents of ten at the edges of the box."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, right, bottom = _BOX
        return (
            left + (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0]) * (right - left),
            bottom - (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top),
        )


def _axes(points: Sequence[Point], roof: Roof) -> _Axes:
    xs = [roof.macs / roof.bytes, *(point.intensity for point in points)]
    ys = [roof.macs, *(point.rate for point in points)]
    return _Axes(_span(xs, 0.35), _span(ys, 0.25))


def _span(values: Sequence[float], margin: float) -> tuple[float, float]:
    return math.log10(min(values)) - margin, math.log10(max(values)) + margin


def _subtitle(totals: Totals, points: Sequence[Point]) -> str:
    shown = {id(point.figures) for point in points}
    rest = [each for each in totals.ops if id(each) not in shown]
    if not rest:
        return "an op is a point, its area is its share of the time"
    ms = totals.account.ms(sum(each.cycles for each in rest))
    return (
        f"an op is a point, its area is its share of the time; not shown: {len(rest)} ops without MACs or bytes moved, "
        f"{ms:.3g} ms"
    )


def _grid(axes: _Axes) -> Iterator[Line | Text]:
    left, top, right, bottom = _BOX
    for value in _ticks(axes.x):
        x, _ = axes.at(value, 10 ** axes.y[0])
        yield Line([(x, top), (x, bottom)], GRID)
        yield Text(x, bottom + 18, f"{value:g}", SOFT, anchor="ms")
    for value in _ticks(axes.y):
        _, y = axes.at(10 ** axes.x[0], value)
        yield Line([(left, y), (right, y)], GRID)
        yield Text(left - 8, y, engineering(value), SOFT, anchor="rm")
    yield Line([(left, top), (left, bottom), (right, bottom)], SOFT)
    yield Text((left + right) / 2, bottom + 40, "MACs for each byte moved", SOFT, anchor="ms")
    yield Text(left, top - 9, "MACs a second, of the busier of engine and transfers", SOFT)


def _ticks(span: tuple[float, float]) -> list[float]:
    """Return 1, 2, 5 × 10^n within a range of few powers of ten, else the powers."""
    factors = (1, 2, 5) if span[1] - span[0] < 3 else (1,)
    powers = range(math.floor(span[0]), math.ceil(span[1]) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if span[0] <= math.log10(value) <= span[1]]


def engineering(value: float) -> str:
    """Return a number of at least 1 with its letter: 2.5 T."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _roofs(axes: _Axes, roof: Roof) -> Iterator[Line | Text]:
    ridge, high, start = roof.macs / roof.bytes, 10 ** axes.x[1], _start(axes, roof)
    yield Line([axes.at(start, roof.bytes * start), axes.at(ridge, roof.macs), axes.at(high, roof.macs)], INK, 1.6)
    right, top = axes.at(high, roof.macs)
    yield Text(right - 6, top - 8, f"peak {engineering(roof.macs)}MAC/s", INK, anchor="rs")
    x, y = axes.at(ridge, roof.macs)
    yield Line([(x, y), (x, _BOX[3])], SOFT, 1.0, 4.0)
    yield Text(x + 5, _BOX[3] - 8, f"{ridge:.3g} MACs a byte", SOFT, 12)
    x, y = _above_slope(axes, roof)
    yield Text(x, y, f"memory {engineering(roof.bytes)}B/s", INK, anchor="rs")


def _start(axes: _Axes, roof: Roof) -> float:
    """Return the intensity at which the roof comes into the picture."""
    return max(10 ** axes.x[0], 10 ** axes.y[0] / roof.bytes)


def _above_slope(axes: _Axes, roof: Roof) -> tuple[float, float]:
    """Return where the name of the slope ends: above its middle."""
    middle = math.sqrt(_start(axes, roof) * roof.macs / roof.bytes)
    x, y = axes.at(middle, roof.bytes * middle)
    return x - 10, y - 8


def _circle(axes: _Axes, point: Point) -> Circle:
    x, y = axes.at(point.intensity, point.rate)
    colour = _COLOURS[point.figures.bound]
    return Circle(x, y, _radius(point), lighter(colour, 0.45), colour, _told(point))


def _radius(point: Point) -> float:
    return max(3.5, 64 * math.sqrt(point.share) / math.sqrt(math.pi))


def _told(point: Point) -> str:
    each = point.figures
    return f"{each.name} ({each.op}): {100 * point.share:.1f} % of the time, {point.intensity:.3g} MACs a byte"


def _labels(axes: _Axes, points: Sequence[Point], roof: Roof) -> Iterator[Text | Line]:
    """Yield the names of the ops that take most time, where there is room near their points."""
    circles = [(*axes.at(point.intensity, point.rate), _radius(point)) for point in points]
    taken: list[Box] = [*_steps_of_roof(axes, roof), *((x - r, y - r, x + r, y + r) for x, y, r in circles)]
    by_time = sorted(zip(points, circles, strict=True), key=lambda pair: -pair[0].share)
    for point, circle in by_time[:_LABELS]:
        name = shortened(point.figures.name)
        for box in _places(circle, text_width(name, 12)):
            if _inside(box) and not any(_meet(box, other) for other in taken):
                taken.append(box)
                yield from _label(circle, box, name)
                break


def _places(circle: tuple[float, float, float], width: float) -> Iterator[Box]:
    """Yield where the name of a point may stand, the best places first: beside it, above, below, then further away."""
    x, y, radius = circle
    for gap in (4, 18, 34, 52):
        out = radius + gap
        sides = [(x + out, y), (x - out - width, y)]
        middles = (x - width / 2, x, x - width)
        sides += [(left, y + step) for step in (-out - 5, out + 5) for left in middles]
        yield from ((left, middle - 7, left + width, middle + 7) for left, middle in sides)


def _label(circle: tuple[float, float, float], box: Box, name: str) -> Iterator[Text | Line]:
    """Yield a name, with a line from its point where it is not beside it."""
    x, y, radius = circle
    near = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    distance = math.dist((x, y), near)
    if distance > radius + 8:
        edge = x + (near[0] - x) * radius / distance, y + (near[1] - y) * radius / distance
        yield Line([edge, near], SOFT, 0.7)
    yield Text(box[0], (box[1] + box[3]) / 2, name, INK, 12, "lm")


def _steps_of_roof(axes: _Axes, roof: Roof) -> Iterator[Box]:
    """Yield small boxes along the roof, and those of what is written at it."""
    left, _, right, bottom = _BOX
    for x in range(left, right, 4):
        exponent = axes.x[0] + (x - left) / (right - left) * (axes.x[1] - axes.x[0])
        _, y = axes.at(1.0, roof.at(10**exponent))
        yield x, y - 4, x + 4, y + 4
    ridge, peak = axes.at(roof.macs / roof.bytes, roof.macs)
    yield right - 180, peak - 24, right, peak
    yield ridge, bottom - 24, ridge + 120, bottom
    end, base = _above_slope(axes, roof)
    yield end - 130, base - 14, end, base + 4


def _inside(box: Box) -> bool:
    return _BOX[0] < box[0] and _BOX[1] < box[1] and box[2] < _BOX[2] and box[3] < _BOX[3]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend() -> Iterator[Circle | Text]:
    words = {
        "compute": "computing",
        "dma": "transfers",
        "wait": "latency and start-up",
        "hidden": "hidden by others",
    }
    x = float(_BOX[0])
    y = _HEIGHT - 20
    yield Text(x, y, "most of its time goes to:", SOFT, 13, "lm")
    x += text_width("most of its time goes to:", 13) + 18
    for kind, word in words.items():
        yield Circle(x, y, 6, lighter(_COLOURS[kind], 0.45), _COLOURS[kind])
        yield Text(x + 11, y, word, INK, 13, "lm")
        x += text_width(word, 13) + 40
