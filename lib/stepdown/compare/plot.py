"""A plot of a few curves over the tensors of a network, as SVG that takes its colours from the page's style."""

import html
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_WIDTH, _HEIGHT = 1120, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 26
_POINT_RADIUS = 3.5
_TICKS = 5
_COLOURS = 4


@dataclass(frozen=True)
class Plot:
    """Curves of one value a label; None and NaN leave a gap.

    What lies outside of the axis is drawn at its edge, as a triangle. The axis reaches from the least finite value, but
    not below `floor`, to the greatest one, but not above `ceiling`.
    `limits` are drawn as dashed lines; `marked` are the indices of failures.
    """

    heading: str
    labels: Sequence[str]
    curves: Mapping[str, Sequence[float | None]]
    unit: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    marked: Collection[int] = ()
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class _Axes:
    low: float
    high: float
    step: float
    count: int

    def x(self, index: int) -> float:
        span = _WIDTH - _LEFT - _RIGHT
        return _LEFT + span * (index + 0.5) / max(1, self.count)

    def y(self, value: float) -> float:
        inside = max(self.low, min(self.high, value))
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.high - inside) / (self.high - self.low)

    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [i * self.step for i in range(first, last + 1)]


def svg(plot: Plot, linked_table: str = "") -> str:
    """Return the plot as an <svg> element; points link to the rows of the table with that anchor."""
    axes = _axes(plot)
    return "\n".join(
        [
            _legend(plot),
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_escape(plot.heading)}">',
            *_grid(plot, axes),
            *_limits(plot, axes),
            *(part for i, name in enumerate(plot.curves) for part in _curve(plot, axes, i, name, linked_table)),
            *_gaps(plot, axes, linked_table),
            "</svg>",
        ]
    )


def _axes(plot: Plot) -> _Axes:
    values = [v for curve in plot.curves.values() for v in curve if v is not None and math.isfinite(v)]
    values += plot.limits.values()
    values = [_inside(v, plot) for v in values] or [0.0, 1.0]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    margin = (high - low) * 0.06
    return _Axes(low - margin, high + margin, _nice_step((high - low) / _TICKS), len(plot.labels))


def _inside(value: float, plot: Plot) -> float:
    value = value if plot.floor is None else max(plot.floor, value)
    return value if plot.ceiling is None else min(plot.ceiling, value)


def _nice_step(rough: float) -> float:
    """Return the least of 1, 2, 5 × 10^n that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _legend(plot: Plot) -> str:
    names = [f'<span class="c{i % _COLOURS}">{_escape(name)}</span>' for i, name in enumerate(plot.curves)]
    names += [f'<span class="limit">{_escape(name)} {value:g}</span>' for name, value in plot.limits.items()]
    names += ['<span class="failed">failed</span>'] if plot.marked else []
    return f'<p class="legend">{"".join(names)}</p>'


def _grid(plot: Plot, axes: _Axes) -> Iterator[str]:
    digits = max(0, -math.floor(math.log10(axes.step)))
    for value in axes.ticks():
        y = axes.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.{digits}f}</text>'
    if plot.unit:
        yield f'<text class="tick" x="4" y="{_TOP}">{_escape(plot.unit)}</text>'
    for index in range(0, axes.count, int(_nice_step(max(1, axes.count / 20)))):
        yield f'<text class="tick" x="{axes.x(index):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{index}</text>'


def _limits(plot: Plot, axes: _Axes) -> Iterator[str]:
    for i, value in enumerate(plot.limits.values()):
        y = axes.y(value)
        yield f'<line class="limit c{i % _COLOURS}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _curve(plot: Plot, axes: _Axes, number: int, name: str, linked_table: str) -> Iterator[str]:
    values = [math.nan if v is None else v for v in plot.curves[name]]
    colour = f"c{number % _COLOURS}"
    yield f'<path class="curve {colour}" d="{_path(values, axes)}"/>'
    marked = set(plot.marked)
    for index, value in enumerate(values):
        if not math.isnan(value):
            point = _point(axes.x(index), axes.y(value), _direction(value, axes))
            title = f"{index} {plot.labels[index]}: {name} {value:.6g}"
            kind = f"point {colour}{' failed' if index in marked else ''}"
            yield _linked(f'<g class="{kind}"><title>{_escape(title)}</title>{point}</g>', linked_table, index)


def _path(values: Sequence[float], axes: _Axes) -> str:
    """Return the line through all neighbours that both have a finite value."""
    words = []
    pen_down = False
    for index, value in enumerate(values):
        if math.isfinite(value):
            words.append(f"{'L' if pen_down else 'M'}{axes.x(index):.1f} {axes.y(value):.1f}")
        pen_down = math.isfinite(value)
    return "".join(words)


def _direction(value: float, axes: _Axes) -> int:
    """Return 1 for a value above the axis, −1 below it, 0 on it."""
    return (value > axes.high) - (value < axes.low)


def _point(x: float, y: float, direction: int) -> str:
    if not direction:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_POINT_RADIUS}"/>'
    tip, foot = y - 5 * direction, y + 3 * direction
    return f'<path d="M{x - 4.5:.1f} {foot:.1f}H{x + 4.5:.1f}L{x:.1f} {tip:.1f}Z"/>'


def _gaps(plot: Plot, axes: _Axes, linked_table: str) -> Iterator[str]:
    """Yield a cross on the lower edge for each failure that has no value."""
    curves = list(plot.curves.values())
    for index in sorted(plot.marked):
        if all(curve[index] is None or math.isnan(curve[index] or 0.0) for curve in curves):
            x, y = axes.x(index), axes.y(axes.low) - 4
            cross = f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
            title = _escape(f"{index} {plot.labels[index]}: not comparable")
            yield _linked(f'<g class="cross"><title>{title}</title>{cross}</g>', linked_table, index)


def _linked(element: str, table: str, index: int) -> str:
    return f'<a href="#{table}r{index}">{element}</a>' if table else element


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
