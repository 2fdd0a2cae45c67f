"""Class names, and the best of a network's scores."""

import os
from pathlib import Path

import numpy as np

from stepdown.errors import InputError

# The 1000 ImageNet classes, in the order of the indices of torchvision's models.
IMAGENET_LABELS = Path(__file__).with_name("imagenet_labels.txt")


def read_labels(path: str | os.PathLike[str] = IMAGENET_LABELS) -> list[str]:
    """Return the names of a text file, one a line; line i names class i.

    Raises:
        InputError: the file is missing, not text, or empty.
    """
    try:
        labels = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the labels ({error})", str(path)) from error
    if not labels:
        raise InputError("holds no labels", str(path), "give one a line")
    return labels


def top_k(values: np.ndarray, k: int = 5) -> list[tuple[int, float]]:
    """Return the k largest of `values` (flattened) as (index, value), largest first; equal ones by index, NaN last."""
    flat = np.asarray(values).reshape(-1)
    order = np.argsort(-flat.astype(np.float64), kind="stable")[:k]
    return [(int(i), float(flat[i])) for i in order]
