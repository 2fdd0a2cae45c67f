"""What a result depends on beside a row and its files: the samples, and the sources that make our code."""

import hashlib
import json
from functools import cache
from pathlib import Path

import stepdown.native
from stepdown.errors import InputError
from stepdown.evaluation.photo_list import open_list

_SOURCES = (".py", ".c", ".h", ".toml")


@cache
def sources_print() -> str:
    """Return a hash of the sources that native code is made of."""
    folder, digest = Path(stepdown.native.__path__[0]), hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SOURCES:
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def dataset_print(dataset: str) -> str:
    """Return a hash of the names, sizes and times of the files of a dataset; "" where none is given."""
    if not dataset:
        return ""
    path = Path(dataset)
    facts = [_file(each) for each in (path, *sorted(path.rglob("*"))) if each.is_file()]
    return hashlib.sha256(json.dumps([facts, _photos(path)]).encode()).hexdigest()


def _file(path: Path) -> tuple[str, int, int]:
    known = path.stat()
    return str(path), known.st_size, known.st_mtime_ns


def _photos(path: Path) -> list[tuple[str, str, list[int]]]:
    """Return the photos of a list, with what counts as right; none of one that cannot be read, as each row tells."""
    if path.suffix != ".txt":
        return []
    try:
        listed = open_list(path)
    except InputError:
        return []
    return [(name, listed.read.fingerprint(i), sorted(listed.accepted_of(i))) for i, name in enumerate(listed.names)]
