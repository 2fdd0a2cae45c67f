"""A picture of what a network is really given."""

import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from stepdown.files.atomic import atomic_path

# Smaller pictures are enlarged to at least this many pixels, so that they and their names can be read.
_CELL_MIN = 112
_LABEL_HEIGHT, _MARGIN = 16, 4


def write_contact_sheet(path: str | os.PathLike[str], pictures: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write a PNG with the pictures uint8[H, W, 3], all of one size, in a grid, each with its name below it."""
    from PIL import Image, ImageDraw

    zoom = math.ceil(_CELL_MIN / min(pictures[0][1].shape[:2]))
    height, width = (side * zoom for side in pictures[0][1].shape[:2])
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    pitch_x, pitch_y = width + _MARGIN, height + _LABEL_HEIGHT + _MARGIN
    sheet = Image.new("RGB", (columns * pitch_x + _MARGIN, rows * pitch_y + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, pixels) in enumerate(pictures):
        x, y = _MARGIN + index % columns * pitch_x, _MARGIN + index // columns * pitch_y
        sheet.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), (x, y))
        draw.text((x, y + height + 1), _shortened(name, width, draw.textlength), fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _shortened(name: str, width: int, length: Callable[[str], float]) -> str:
    """Return the end of `name` that fits into `width` pixels."""
    if length(name) <= width:
        return name
    cut = next((i for i in range(1, len(name)) if length(f"…{name[i:]}") <= width), len(name))
    return f"…{name[cut:]}"
