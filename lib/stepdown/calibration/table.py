"""Writing calibration tables (their text is described with their reader, `import_calibration_table`)."""

import json
import os
from collections.abc import Mapping, Sequence

import numpy as np

from stepdown.files.atomic import write_text
from stepdown.transforms.import_calibration_table import Row, read_table

__all__ = ["Row", "format_table", "read_table", "write_table"]


def write_table(path: str | os.PathLike[str], rows: Mapping[str, Row], notes: Sequence[str] = ()) -> None:
    """Write rows in the order given, under comment lines that say how they were made; atomically."""
    write_text(path, format_table(rows, notes))


def format_table(rows: Mapping[str, Row], notes: Sequence[str] = ()) -> str:
    """Return the text of a table; reading it gives the same float32 values."""
    head = [f"# {' '.join(note.split())}" for note in (*notes, "name threshold min max")]
    lines = [f"{_name(name)} {_text(r.threshold)} {_text(r.minimum)} {_text(r.maximum)}" for name, r in rows.items()]
    return "\n".join([*head, *lines]) + "\n"


def _name(name: str) -> str:
    plain = name and name == " ".join(name.split()) and name[0] not in '#"'
    return name if plain else json.dumps(name)


def _text(value: float) -> str:
    """Return the shortest text that reads back as the same float32."""
    return str(np.float32(value))
