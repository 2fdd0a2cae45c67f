"""The files of a profile in a folder: tables as JSON and CSV, the roofline, the memory map."""

import os
from pathlib import Path

from stepdown.files.atomic import write_text
from stepdown.perf.memory_map import write_memory_map
from stepdown.perf.roofline import write_roofline
from stepdown.perf.tables import csv_text, json_text
from stepdown.perf.totals import Totals


def write_files(folder: str | os.PathLike[str], totals: Totals) -> None:
    """Write perf.json, ops.csv, roofline.png, memory.png and memory.svg; the folder is made where it is missing."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / "perf.json", json_text(totals))
    write_text(place / "ops.csv", csv_text(totals))
    write_roofline(place / "roofline.png", totals)
    write_memory_map(place / "memory.png", place / "memory.svg", totals)
