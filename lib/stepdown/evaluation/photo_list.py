"""Photos listed in a text file, `file class` a line, with a table of further labels that count as right."""

import csv
import os
from pathlib import Path

from stepdown.errors import InputError
from stepdown.evaluation.samples import LabelledSet, PhotoFiles, class_number, duplicates

LIST, ACCEPT = "val.txt", "val_accept.tsv"


def open_list(path: Path, accept: Path | None = None, folder: Path | None = None) -> LabelledSet:
    """Return the photos of a list; they lie in `folder` (default: the list's) or in one of the folders in it.

    `accept` defaults to `val_accept.tsv` beside the list, where there is one.

    Raises:
        InputError: a file is missing or malformed, named with its line.
    """
    rows = _rows(path)
    root = folder or path.parent
    files = _found([name for name, _ in rows], root, path)
    beside = path.with_name(ACCEPT)
    table = accept or (beside if beside.is_file() else None)
    accepted = read_accepted(table, dict(rows)) if table else {}
    return LabelledSet(
        str(path),
        tuple(name for name, _ in rows),
        tuple(label for _, label in rows),
        PhotoFiles(tuple(files)),
        tuple(accepted.get(name, frozenset()) | {label} for name, label in rows) if table else (),
    )


def _rows(path: Path) -> list[tuple[str, int]]:
    """Return names and classes; blank lines and lines that begin with `#` are skipped."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, last = line.strip().rpartition("\t" if "\t" in line else " ")
        label = class_number(last)
        if label is None or not name.strip():
            raise InputError("is not `file class`, the class a number", f"{path}:{number}")
        rows.append((name.strip(), label))
    if not rows:
        raise InputError("lists no photos", str(path), "write one `file class` a line")
    if twice := duplicates([name for name, _ in rows]):
        raise InputError(f"lists '{twice[0]}' more than once", str(path))
    return rows


def read_accepted(path: Path, listed: dict[str, int]) -> dict[str, frozenset[int]]:
    """Return, by photo, the classes of a table with the columns `file` and `accepted_ids` (`281,282`), tab-separated.

    Raises:
        InputError: it is malformed, or it names none of the photos `listed`.
    """
    table = csv.DictReader(_text(path).splitlines(), delimiter="\t")
    if not {"file", "accepted_ids"} <= set(table.fieldnames or ()):
        raise InputError("has no columns `file` and `accepted_ids`, separated by tabs", str(path))
    found = {}
    for row in table:
        numbers = [class_number(part.strip()) for part in (row["accepted_ids"] or "").split(",")]
        if None in numbers:
            raise InputError(f"'{row['accepted_ids']}' is not like 281,282", f"{path}:{table.line_num}")
        found[row["file"]] = frozenset(number for number in numbers if number is not None)
    if not found.keys() & listed.keys():
        raise InputError("names none of the photos of the list", str(path))
    return found


def _found(names: list[str], root: Path, path: Path) -> list[Path]:
    """Return where the photos lie: all below `root`, or all below one of its folders."""
    places = [root, *sorted(place for place in root.iterdir() if place.is_dir())] if root.is_dir() else []
    for place in places:
        if os.path.isfile(place / names[0]):
            return [place / name for name in names]
    raise InputError(f"'{names[0]}' is neither in {root} nor in a folder there", str(path), "give --dataset")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", str(path)) from error
