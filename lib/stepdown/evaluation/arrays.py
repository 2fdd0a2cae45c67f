"""Samples and labels in an npz file."""

from pathlib import Path

import numpy as np

from stepdown.errors import InputError
from stepdown.evaluation.samples import ArrayRows, LabelledSet
from stepdown.files.npz import NpzFile

SAMPLES = ("x", "X", "images", "x_test", "data")
LABELS = ("y", "Y", "labels", "y_test", "label", "targets")


def open_arrays(path: Path) -> LabelledSet:
    """Return the samples `x` [N, …] with the labels `y` [N] of an npz file (or under one of the other usual names).

    Raises:
        InputError: it lacks one of them, they do not fit, or it is empty.
    """
    file = NpzFile(path)
    try:
        x, y = (file[_named(file, names)] for names in (SAMPLES, LABELS))
    finally:
        file.close()
    labels = _labels(y, str(path))
    if x.ndim < 2 or len(x) != len(labels):
        raise InputError(f"samples {x.shape} and labels {y.shape} do not fit each other", str(path))
    if x.dtype.kind not in "uif" or (x.dtype.kind in "ui" and x.dtype != np.uint8):
        raise InputError(f"samples are {x.dtype}", str(path), "want pixels (uint8) or the network's input (float)")
    if not len(x):
        raise InputError("holds no samples", str(path))
    return LabelledSet(str(path), tuple(f"{path.name}[{i}]" for i in range(len(x))), labels, ArrayRows(x))


def _named(file: NpzFile, names: tuple[str, ...]) -> str:
    for name in names:
        if name in file:
            return name
    raise InputError(f"has none of the arrays {', '.join(names)}; it has {', '.join(file)}", file.path)


def _labels(y: np.ndarray, where: str) -> tuple[int, ...]:
    flat = y.reshape(-1)
    if y.ndim not in (1, 2) or flat.size != len(y) or y.dtype.kind not in "ui":
        raise InputError(f"labels are {y.dtype}{list(y.shape)}, want one integer a sample", where)
    return tuple(int(label) for label in flat)
