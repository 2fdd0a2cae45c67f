"""The confusion matrix as a picture: rows are truths, columns are predictions."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from stepdown.compare.canvas import BLUE, GRID, INK, PAPER, RED, SCALE, SOFT, Canvas, Colour, font
from stepdown.evaluation.matrix import Pairs, folded, most_confused, occurring
from stepdown.evaluation.ranking import NO_CLASS
from stepdown.files.atomic import atomic_path

MOST_CLASSES = 32
OTHERS = -2
_HEAD, _MARGIN, _NAME_LETTERS = 66, 20, 26
_CELL, _MIN_WIDTH, _SMALL = 30, 520, 12
_DARK = 0.55


def write_matrix_picture(path: str | os.PathLike[str], pairs: Pairs, name: Callable[[int], str]) -> None:
    """Write a PNG of the matrix; of more than `MOST_CLASSES` classes the most confused, the rest joined to `others`."""
    classes = occurring(pairs)
    kept = most_confused(pairs, MOST_CLASSES)
    joined = folded(pairs, kept, OTHERS) if len(kept) < len(classes) else pairs
    rows = _axis(kept, OTHERS in {truth for truth, _ in joined})
    columns = _axis(kept, OTHERS in {predicted for _, predicted in joined})
    columns += [NO_CLASS] if any(predicted == NO_CLASS for _, predicted in pairs) else []
    most = f"the {len(kept)} most confused of " if len(kept) < len(classes) else ""
    title = f"Confusion of {most}{len(classes)} classes, {sum(pairs.values())} samples"
    names = {label: _named(label, name) for label in {*rows, *columns}}
    picture = _Picture(joined, rows, columns, names).drawn(title)
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG")


@dataclass(frozen=True)
class _Picture:
    """Counts, the classes of rows and columns, and what each is called."""

    pairs: Pairs
    rows: list[int]
    columns: list[int]
    names: dict[int, str]

    def drawn(self, title: str) -> Image.Image:
        """Return the picture."""
        length = int(max(font(_SMALL).getlength(text) for text in self.names.values()) / SCALE)
        left, top = _MARGIN + length + 10, _HEAD + length + 10
        width = max(left + len(self.columns) * _CELL, _MIN_WIDTH) + _MARGIN
        canvas = Canvas(width, top + len(self.rows) * _CELL + _MARGIN)
        canvas.text(_MARGIN, 28, title, INK, 16)
        legend = "rows: true class, columns: predicted class; colour: share of the row, blue right, red wrong"
        legend += "; grey: other classes, right or wrong" if OTHERS in self.rows else ""
        canvas.text(_MARGIN, 50, legend, SOFT, _SMALL)
        self._names(canvas, left, top)
        self._cells(canvas, left, top)
        return canvas.finished()

    def _names(self, canvas: Canvas, left: int, top: int) -> None:
        for index, label in enumerate(self.rows):
            canvas.text(left - 7, top + (index + 0.5) * _CELL, self.names[label], INK, _SMALL, "rm")
        for index, label in enumerate(self.columns):
            _upwards(canvas, left + (index + 0.5) * _CELL, top - 7, self.names[label])

    def _cells(self, canvas: Canvas, left: int, top: int) -> None:
        for y, truth in enumerate(self.rows):
            total = sum(self.pairs.get((truth, predicted), 0) for predicted in self.columns)
            for x, predicted in enumerate(self.columns):
                count = self.pairs.get((truth, predicted), 0)
                share = count / total if total else 0.0
                hue = SOFT if truth == OTHERS == predicted else BLUE if truth == predicted else RED
                _cell(canvas, left + x * _CELL, top + y * _CELL, count, share, hue)


def _cell(canvas: Canvas, x: int, y: int, count: int, share: float, hue: Colour) -> None:
    """Draw a count on its colour: white for none (tinted on the diagonal), `hue` for all of the row."""
    weight = 0.12 + 0.88 * share if count else 0.06 * (hue == BLUE)
    red, green, blue = (round(paper + (full - paper) * weight) for paper, full in zip(PAPER, hue, strict=True))
    box = (x * SCALE, y * SCALE, (x + _CELL) * SCALE, (y + _CELL) * SCALE)
    canvas.draw.rectangle(box, (red, green, blue), GRID, SCALE)
    if count:
        ink = PAPER if weight > _DARK else INK
        size = _SMALL if count < 1000 else _SMALL - 3
        canvas.text(x + _CELL / 2, y + _CELL / 2, _short(count), ink, size, "mm")


def _short(count: int) -> str:
    """Return a count in at most four letters."""
    return str(count) if count < 10_000 else f"{count // 1000}k"


def _upwards(canvas: Canvas, x: float, y: float, text: str) -> None:
    """Write `text` from the bottom up, its middle at x and its beginning at y."""
    face = font(_SMALL)
    size = (round(face.getlength(text)) + 2 * SCALE, _CELL * SCALE)
    strip = Image.new("RGB", size, PAPER)
    ImageDraw.Draw(strip).text((0, size[1] / 2), text, INK, face, "lm")
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    canvas.image.paste(turned, (round(x * SCALE) - size[1] // 2, round(y * SCALE) - size[0]))


def _axis(kept: list[int], others: bool) -> list[int]:
    return [*kept, OTHERS] if others else list(kept)


def _named(label: int, name: Callable[[int], str]) -> str:
    if label == OTHERS:
        return "others"
    if label == NO_CLASS:
        return "none (NaN)"
    text = name(label)
    return text if len(text) <= _NAME_LETTERS else f"{text[: _NAME_LETTERS - 1]}…"
