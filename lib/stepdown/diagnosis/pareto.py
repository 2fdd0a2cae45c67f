"""Accuracy against cost: a picture (PNG), a page (HTML) and a table (CSV) of the choices that are worth having."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from stepdown.compare.canvas import BLUE, INK, ORANGE, RED, SCALE, Axes, Canvas, Colour, padded
from stepdown.compare.page import STYLE
from stepdown.diagnosis.mixed import Point
from stepdown.files.atomic import atomic_path, write_text

_WIDTH, _HEIGHT, _BOX = 760, 460, (64, 40, 735, 405)
_CAP_DB = 120.0
SUFFIXES = (".png", ".html", ".csv")


def write_pareto(path: str, curve: Sequence[Point], known: Mapping[str, Point], title: str) -> None:
    """Write expected points of `curve` and measured ones (`known`, by what they are), by the suffix of `path`."""
    suffix = Path(path).suffix
    if suffix == ".csv":
        write_text(path, csv(curve, known))
    elif suffix == ".html":
        write_text(path, page(curve, known, title))
    else:
        with atomic_path(path) as place:
            place.write_bytes(png(picture(curve, known, title)))


def picture(curve: Sequence[Point], known: Mapping[str, Point], title: str) -> Image.Image:
    """Return the plot."""
    points = [*curve, *known.values()]
    heights = [_height(p.expected_db) for p in points] + [_height(measured_db(p)) for p in known.values()]
    canvas = Canvas(_WIDTH, _HEIGHT)
    span = padded(min(p.cost for p in points), max(p.cost for p in points))
    axes = Axes(canvas, _BOX, span, padded(min(heights), max(heights)))
    axes.frame(title, "cost, 1 is all ops in INT8", "SQNR of the worst output, dB")
    places = [axes.at(p.cost, _height(p.expected_db)) for p in curve]
    if len(places) > 1:
        canvas.line(places, BLUE, 1.4)
    for x, y in places:
        _dot(canvas, x, y, BLUE, 3.0)
    for (name, point), colour in zip(known.items(), (RED, ORANGE, INK), strict=False):
        x, y = axes.at(point.cost, _height(measured_db(point)))
        _dot(canvas, x, y, colour, 4.5)
        near = x > (_BOX[0] + _BOX[2]) / 2
        canvas.text(x - 8 if near else x + 8, y + 4, f"{name}, measured", colour, anchor="rs" if near else "ls")
    return canvas.finished()


def page(curve: Sequence[Point], known: Mapping[str, Point], title: str) -> str:
    """Return an HTML page with the plot and all points."""
    image = base64.b64encode(png(picture(curve, known, title))).decode()
    rows = [line.split(",") for line in csv(curve, known).splitlines()]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    name = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        f"<h1>{name}</h1><section><img alt='accuracy against cost' "
        f"src='data:image/png;base64,{image}'></section><section><div class='scroll'><table><tr>{head}</tr>{body}"
        "</table></div></section></html>\n"
    )


def csv(curve: Sequence[Point], known: Mapping[str, Point]) -> str:
    """Return the points as a table: an empty cell is what was not measured."""
    named = [*known.items(), *((f"expected {i}", point) for i, point in enumerate(curve))]
    lines = ["choice,cost,expected_sqnr_db,measured_sqnr_db,ops_not_int8"]
    for name, point in named:
        measured = f"{_height(measured_db(point)):.3f}" if point.measured else ""
        lines.append(f"{name},{point.cost:.4f},{_height(point.expected_db):.3f},{measured},{float_ops(point)}")
    return "\n".join(lines) + "\n"


def measured_db(point: Point) -> float:
    """Return the SQNR of the worst output of a point that was run."""
    return min((noise.sqnr_db for noise in point.measured.values()), default=math.nan)


def float_ops(point: Point) -> int:
    """Return how many ops are not in INT8."""
    return sum(mode != "INT8" for mode in point.choice.modes.values())


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _height(db: float) -> float:
    return max(-_CAP_DB, min(_CAP_DB, db))


def _dot(canvas: Canvas, x: float, y: float, colour: Colour, radius: float) -> None:
    left, top, right, bottom = (SCALE * v for v in (x - radius, y - radius, x + radius, y + radius))
    canvas.draw.ellipse((left, top, right, bottom), colour)
