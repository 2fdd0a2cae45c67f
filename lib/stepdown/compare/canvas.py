"""Axes on a Pillow picture: ticks, labels, curves, bars and clouds of points.

Everything is drawn at `SCALE` times the size and reduced at the end, which smooths the edges.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCALE = 2
Colour = tuple[int, int, int]
Range = tuple[float, float]

INK: Colour = (28, 31, 36)
SOFT: Colour = (98, 106, 117)
GRID: Colour = (226, 228, 232)
PAPER: Colour = (255, 255, 255)
BLUE: Colour = (37, 99, 201)
ORANGE: Colour = (214, 116, 12)
RED: Colour = (192, 38, 28)
_TICKS = 5
_FONT_SIZE = 13


class Canvas:
    """A white picture of `width` × `height` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, text: str, colour: Colour = INK, size: int = _FONT_SIZE, anchor: str = "ls"
    ) -> None:
        """Write `text` at x, y; `anchor` as in Pillow: `ls` is left on the baseline, `mm` the middle, `rm` right."""
        self.draw.text((x * SCALE, y * SCALE), text, colour, font(size), anchor)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float = 1.0) -> None:
        """Draw a line through points given in pixels."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.draw.line(scaled, colour, max(1, round(width * SCALE)), joint="curve")

    def finished(self) -> Image.Image:
        """Return the picture in its own size."""
        width, height = self.image.size
        return self.image.resize((width // SCALE, height // SCALE), Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow."""
    return ImageFont.load_default(size * SCALE)


@dataclass(frozen=True)
class Axes:
    """A plot in the rectangle `left, top, right, bottom` of a canvas, over the ranges `x` and `y`."""

    canvas: Canvas
    box: tuple[int, int, int, int]
    x: Range
    y: Range

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        left, top, right, bottom = self.box
        return (
            left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (right - left),
            bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top),
        )

    def frame(self, title: str, x_label: str, y_label: str, powers: bool = False) -> None:
        """Draw grid, ticks and labels; with `powers` the y axis holds exponents of ten."""
        left, top, right, bottom = self.box
        for value in ticks(self.x):
            px, _ = self.at(value, self.y[0])
            self.canvas.line([(px, top), (px, bottom)], GRID)
            self.canvas.text(px, bottom + 17, tick_text(value, self.x), SOFT, anchor="ms")
        for value in [float(v) for v in range(math.floor(self.y[1]) + 1)] if powers else ticks(self.y):
            _, py = self.at(self.x[0], value)
            self.canvas.line([(left, py), (right, py)], GRID)
            text = f"{10 ** int(value)}" if powers else tick_text(value, self.y)
            self.canvas.text(left - 7, py, text, SOFT, anchor="rm")
        self.canvas.line([(left, top), (left, bottom), (right, bottom)], SOFT)
        self.canvas.text(left, top - 12, title, size=15)
        self.canvas.text((left + right) / 2, bottom + 36, x_label, SOFT, anchor="ms")
        self.canvas.text(right, top - 12, y_label, SOFT, anchor="rs")

    def fits(self, count: int) -> bool:
        """Tell whether a curve of that many values can show each of them."""
        return count <= (self.box[2] - self.box[0]) // 2

    def curve(self, y: np.ndarray, colour: Colour) -> None:
        """Draw the values of `y` over their indices: a line, or the range of each pixel column where there are many."""
        columns = self.box[2] - self.box[0]
        if self.fits(y.size):
            points = [self.at(i, v) for i, v in enumerate(y.tolist())]
            self.canvas.line(points, colour, 1.4)
            for px, py in points if y.size <= columns // 12 else []:
                self._dot(px, py, colour)
            return
        starts = np.linspace(0, y.size, columns + 1)[:-1].astype(np.int64)
        low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        for start, a, b in zip(starts.tolist(), low.tolist(), high.tolist(), strict=True):
            (px, top), (_, bottom) = self.at(start, b), self.at(start, a)
            self.canvas.line([(px, top - 0.5), (px, bottom + 0.5)], colour)

    def bars(self, counts: np.ndarray, colour: Colour) -> None:
        """Draw bars of equal width that fill the x axis, from the lower edge to log10(count)."""
        edges = np.linspace(*self.x, counts.size + 1).tolist()
        for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
            if count:
                (x0, y0), (x1, y1) = self.at(left, math.log10(count)), self.at(right, self.y[0])
                box = (x0 * SCALE, y0 * SCALE, x1 * SCALE - 1, y1 * SCALE)
                self.canvas.draw.rectangle(box, colour)

    def cloud(self, x: np.ndarray, y: np.ndarray, colour: Colour) -> None:
        """Draw points; where many fall on one place it is darker, by the logarithm of their number."""
        left, top, right, bottom = self.box
        cell = 6 if x.size <= 1 << 12 else 4
        shape = ((bottom - top) * SCALE // cell, (right - left) * SCALE // cell)
        counts, _, _ = np.histogram2d(y, x, shape, (self.y, self.x))
        weight = np.log1p(counts[::-1]) / max(np.log1p(counts.max()), 1e-9)
        weight = np.where(counts[::-1] > 0, 0.3 + 0.7 * weight, 0.0).repeat(cell, 0).repeat(cell, 1)
        mask = Image.fromarray((weight * 255).astype(np.uint8))
        self.canvas.image.paste(colour, (left * SCALE, top * SCALE), mask)

    def _dot(self, px: float, py: float, colour: Colour) -> None:
        radius = 2.4 * SCALE
        px, py = px * SCALE, py * SCALE
        self.canvas.draw.ellipse((px - radius, py - radius, px + radius, py + radius), colour)


def padded(low: float, high: float) -> Range:
    """Return the range a little wider, and never empty."""
    margin = (high - low) * 0.04 or abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(span: Range) -> list[float]:
    """Return about five round numbers within a range."""
    step = _step(span)
    return [i * step for i in range(math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9) + 1)]


def tick_text(value: float, span: Range) -> str:
    """Return a tick with as many digits as its step needs."""
    step = _step(span)
    if max(abs(span[0]), abs(span[1])) >= 1e6 or step < 1e-5:
        return f"{value:.3g}"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _step(span: Range) -> float:
    rough = (span[1] - span[0]) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
