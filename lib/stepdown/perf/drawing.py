"""A drawing of rectangles, lines, circles and texts that can be written both as PNG and as SVG."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from stepdown.compare.canvas import BLUE, INK, ORANGE, PAPER, RED, SCALE, SOFT, Canvas, Colour, font
from stepdown.files.atomic import atomic_path, write_text

PALETTE: tuple[Colour, ...] = (
    BLUE, ORANGE, (22, 138, 92), (134, 84, 176), RED, (0, 144, 166), (148, 112, 58), (196, 74, 140),
)  # fmt: skip
"""Colours of things that have no order; what is beyond them is drawn in `SOFT`."""
_SVG_ANCHORS = {"l": "start", "m": "middle", "r": "end"}
_FONTS = "Aileron, Helvetica, Arial, sans-serif"

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Rectangle:
    """A filled rectangle, with an outline where one is given."""

    box: Box
    fill: Colour
    outline: Colour | None = None
    title: str = ""

    def paint(self, canvas: Canvas) -> None:
        """Draw it."""
        left, top, right, bottom = (value * SCALE for value in self.box)
        canvas.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), self.fill, self.outline, 1)

    def svg(self) -> str:
        """Return the element; its title is shown by a browser where the mouse rests."""
        left, top, right, bottom = self.box
        stroke = f' stroke="{_hex(self.outline)}" stroke-width="0.5"' if self.outline else ""
        shape = f'<rect x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" height="{bottom - top:.2f}"'
        title = f"><title>{escape(self.title)}</title></rect>" if self.title else "/>"
        return f'{shape} fill="{_hex(self.fill)}"{stroke}{title}'


@dataclass(frozen=True)
class Line:
    """A line through points; `dash` is the length of a dash, 0 for none."""

    points: Sequence[tuple[float, float]]
    colour: Colour
    width: float = 1.0
    dash: float = 0.0

    def paint(self, canvas: Canvas) -> None:
        """Draw it."""
        for piece in self._dashes() if self.dash else [list(self.points)]:
            canvas.line(piece, self.colour, self.width)

    def _dashes(self) -> list[list[tuple[float, float]]]:
        """Return the dashes of a straight line."""
        (x0, y0), (x1, y1) = self.points
        count = max(1, int(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 / self.dash))
        at = [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count + 1)]
        return [[at[i], at[i + 1]] for i in range(0, count, 2)]

    def svg(self) -> str:
        """Return the element."""
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in self.points)
        dash = f' stroke-dasharray="{self.dash:g}"' if self.dash else ""
        return (
            f'<polyline points="{points}" fill="none" stroke="{_hex(self.colour)}" stroke-width="{self.width}"{dash}/>'
        )


@dataclass(frozen=True)
class Circle:
    """A filled circle with an outline."""

    x: float
    y: float
    radius: float
    fill: Colour
    outline: Colour
    title: str = ""

    def paint(self, canvas: Canvas) -> None:
        """Draw it."""
        x, y, radius = self.x * SCALE, self.y * SCALE, self.radius * SCALE
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), self.fill, self.outline, SCALE)

    def svg(self) -> str:
        """Return the element."""
        shape = f'<circle cx="{self.x:.2f}" cy="{self.y:.2f}" r="{self.radius:.2f}" fill="{_hex(self.fill)}"'
        return f'{shape} stroke="{_hex(self.outline)}"><title>{escape(self.title)}</title></circle>'


@dataclass(frozen=True)
class Text:
    """A text; `anchor` as in Pillow: `ls` is left on the baseline, `mm` the middle, `rm` right."""

    x: float
    y: float
    text: str
    colour: Colour = INK
    size: int = 13
    anchor: str = "ls"

    def paint(self, canvas: Canvas) -> None:
        """Draw it."""
        canvas.text(self.x, self.y, self.text, self.colour, self.size, self.anchor)

    def svg(self) -> str:
        """Return the element."""
        y = self.y + (self.size * 0.35 if self.anchor[1] == "m" else 0)
        style = f'font-size="{self.size}" fill="{_hex(self.colour)}" text-anchor="{_SVG_ANCHORS[self.anchor[0]]}"'
        return f'<text x="{self.x:.2f}" y="{y:.2f}" {style}>{escape(self.text)}</text>'


@dataclass
class Drawing:
    """Shapes on white paper, the later ones above the earlier ones."""

    width: int
    height: int
    shapes: list[Rectangle | Line | Circle | Text] = field(default_factory=list)

    def add(self, *shapes: Rectangle | Line | Circle | Text) -> None:
        """Put shapes above all others."""
        self.shapes += shapes

    def write_png(self, path: str | os.PathLike[str]) -> None:
        """Write it as PNG, atomically."""
        canvas = Canvas(self.width, self.height)
        for shape in self.shapes:
            shape.paint(canvas)
        with atomic_path(path) as temporary:
            canvas.finished().save(temporary, "PNG")

    def write_svg(self, path: str | os.PathLike[str]) -> None:
        """Write it as SVG, atomically."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONTS}">'
        paper = Rectangle((0, 0, self.width, self.height), PAPER).svg()
        write_text(path, "\n".join([head, paper, *(shape.svg() for shape in self.shapes), "</svg>"]) + "\n")


def text_width(text: str, size: int) -> float:
    """Return the width of a text in pixels."""
    return font(size).getlength(text) / SCALE


def fitting(text: str, size: int, width: float, least: int = 8) -> str:
    """Return a text, shortened so that it fits a width; empty where it would have less than `least` letters."""
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(f"{text[:middle]}…", size) <= width else (low, middle - 1)
    return f"{text[:low]}…" if low >= least else ""


def lighter(colour: Colour, share: float) -> Colour:
    """Return a colour mixed with the paper, of which there is `share`."""
    red, green, blue = (round(c + (p - c) * share) for c, p in zip(colour, PAPER, strict=True))
    return red, green, blue


def colours(names: Sequence[str]) -> dict[str, Colour]:
    """Return a colour for each name; those beyond the palette share one."""
    return {name: PALETTE[at] if at < len(PALETTE) else SOFT for at, name in enumerate(names)}


def _hex(colour: Colour) -> str:
    return f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
