"""Pictures of results: a bar a row, with its label and its number."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.compare.canvas import BLUE, GRID, INK, ORANGE, SCALE, SOFT, Canvas, Colour, font, ticks
from stepdown.files.atomic import atomic_path

_ROW, _HEAD, _FOOT, _MARGIN, _PLOT, _NUMBER = 22, 62, 30, 18, 520, 110
_SMALL = 12


@dataclass(frozen=True)
class Bar:
    """A row: its label, its number, a second one marked on it, and how the number is written."""

    label: str
    value: float
    mark: float | None
    text: str
    peer: bool = False


@dataclass(frozen=True)
class Chart:
    """Bars under a heading; on a logarithmic axis where numbers are far apart."""

    heading: str
    legend: str
    bars: Sequence[Bar]

    @property
    def _logarithmic(self) -> bool:
        values = [bar.value for bar in self.bars if bar.value > 0]
        return bool(values) and max(values) > 30 * min(values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a PNG."""
        left = _MARGIN + int(max(font(_SMALL).getlength(bar.label) for bar in self.bars) / SCALE) + 10
        height = _HEAD + len(self.bars) * _ROW
        canvas = Canvas(left + _PLOT + _NUMBER, height + _FOOT)
        canvas.text(_MARGIN, 26, self.heading, INK, 16)
        canvas.text(_MARGIN, 46, self.legend + ("; logarithmic" if self._logarithmic else ""), SOFT, _SMALL)
        low, high = self._span()
        for value in self._ticks(low, high):
            x = left + self._share(value, low, high) * _PLOT
            canvas.line([(x, _HEAD), (x, height)], GRID)
            canvas.text(x, height + 17, f"{value:g}", SOFT, _SMALL, "ms")
        for number, bar in enumerate(self.bars):
            self._draw(canvas, bar, left, _HEAD + number * _ROW, (low, high))
        with atomic_path(path) as temporary:
            canvas.finished().save(temporary, "PNG")

    def _draw(self, canvas: Canvas, bar: Bar, left: int, top: int, span: tuple[float, float]) -> None:
        colour: Colour = ORANGE if bar.peer else BLUE
        end = left + self._share(bar.value, *span) * _PLOT
        box = [left, top + 4, max(end, left + 1), top + _ROW - 4]
        canvas.draw.rectangle([round(v * SCALE) for v in box], colour)
        right = end
        if bar.mark is not None:
            right = left + self._share(bar.mark, *span) * _PLOT
            canvas.line([(right, top + 3), (right, top + _ROW - 3)], INK, 1.5)
        canvas.text(left - 7, top + _ROW / 2, bar.label, INK, _SMALL, "rm")
        canvas.text(max(end, right) + 6, top + _ROW / 2, bar.text, INK, _SMALL, "lm")

    def _span(self) -> tuple[float, float]:
        values = [v for bar in self.bars for v in (bar.value, bar.mark) if v]
        if not self._logarithmic:
            return 0.0, max(values, default=1.0)
        return 10.0 ** math.floor(math.log10(min(v for v in values if v > 0))), max(values)

    def _share(self, value: float, low: float, high: float) -> float:
        if self._logarithmic:
            return math.log(max(value, low) / low) / math.log(high / low)
        return (value - low) / (high - low)

    def _ticks(self, low: float, high: float) -> list[float]:
        if not self._logarithmic:
            return ticks((low, high))
        return [10.0**e for e in range(round(math.log10(low)), math.floor(math.log10(high)) + 1)]
