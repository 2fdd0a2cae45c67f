"""The sketches of all tensors of a program: as arrays, merged, and in a file from which tables are made later.

A sketch file is an npz: a row a tensor in `count`, `minimum`, `maximum`, `exponent` and `counts` (see `sketch.py`),
and the member `about`, JSON: the tensors' names, what they were taken from, and how.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepdown.calibration.sketch import SIDE, Sketch
from stepdown.distributed.job import Arrays
from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, write_npz

Sketches = dict[str, Sketch]

_ABOUT = "about"
_TYPES = {"count": np.int64, "minimum": np.float64, "maximum": np.float64, "exponent": np.int64, "counts": np.int64}


def to_arrays(sketches: Sketches) -> Arrays:
    """Return a row a tensor of every field of a sketch."""
    return {
        field: np.array([getattr(sketch, field) for sketch in sketches.values()], dtype)
        for field, dtype in _TYPES.items()
    }


def from_arrays(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Sketches:
    """Return what `to_arrays` was given, under these names."""
    rows = zip(*(arrays[field] for field in _TYPES), strict=True)
    return {
        name: Sketch(int(count), float(low), float(high), int(exponent), counts)
        for name, (count, low, high, exponent, counts) in zip(names, rows, strict=True)
    }


def merge_arrays(total: Arrays, more: Arrays) -> Arrays:
    """Return what the sketches in both have seen; exact, associative and commutative."""
    names = [str(row) for row in range(len(total["count"]))]
    sketches, others = from_arrays(total, names), from_arrays(more, names)
    for name, sketch in sketches.items():
        sketch.merge(others[name])
    return to_arrays(sketches)


def write_sketches(path: str | os.PathLike[str], sketches: Sketches, about: Mapping[str, Any]) -> None:
    """Write a sketch file; the same sketches give the same bytes."""
    text = json.dumps({**about, "names": list(sketches)}, sort_keys=True)
    write_npz(path, {_ABOUT: np.frombuffer(text.encode(), np.uint8), **to_arrays(sketches)})


def read_sketches(path: str | os.PathLike[str]) -> tuple[Sketches, dict[str, Any]]:
    """Return the sketches of a file and what it says about them.

    Raises:
        InputError: the file is missing, broken, or no sketch file.
    """
    with contextlib.closing(NpzFile(path)) as stored:
        if missing := {_ABOUT, *_TYPES} - set(stored):
            raise InputError(f"has no '{min(missing)}'", str(path), "give a file that --sketch wrote")
        arrays = {name: stored[name] for name in _TYPES}
        try:
            about = json.loads(stored[_ABOUT].tobytes())
            names = [str(name) for name in about.pop("names")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"its member '{_ABOUT}' is malformed ({error})", str(path)) from None
    _check(arrays, len(names), str(path))
    return from_arrays(arrays, names), about


def _check(arrays: Arrays, rows: int, where: str) -> None:
    """Refuse arrays that are no sketches: of other shapes or types, or whose counts do not add up."""
    for field, dtype in _TYPES.items():
        shape = (rows, 2 * SIDE) if field == "counts" else (rows,)
        if arrays[field].shape != shape or arrays[field].dtype != dtype:
            raise InputError(f"its member '{field}' is {arrays[field].dtype}{arrays[field].shape}", where)
    sums = arrays["counts"].sum(axis=1)
    finite = np.isfinite(arrays["minimum"]) & np.isfinite(arrays["maximum"])
    if (arrays["counts"] < 0).any() or (sums != arrays["count"]).any() or not finite[sums > 0].all():
        raise InputError("its counts do not add up", where, "write it again with --sketch")
