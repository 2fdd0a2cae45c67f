"""A set of labelled samples as JSON, for a machine that has its files at other places."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.errors import InputError
from stepdown.evaluation.arrays import open_arrays
from stepdown.evaluation.samples import LabelledSet, PhotoFiles


@dataclass(frozen=True)
class SentPhotos(PhotoFiles):
    """Photos at other places than the user gave: errors tell the names that he did."""

    names: tuple[str, ...] = ()

    def __call__(self, index: int) -> np.ndarray:
        """Return the pixels uint8[h, w, 3] of a photo; raises InputError."""
        try:
            return super().__call__(index)
        except InputError as error:
            here, given = str(self.files[index]), self.names[index]
            raise InputError(*(text.replace(here, given) for text in (error.what, error.where, error.fix))) from error


def plain_set(samples: LabelledSet) -> dict[str, Any]:
    """Return a set as JSON can hold it; arrays are read from its npz again."""
    reader = samples.read
    return {
        "source": samples.source, "names": samples.names, "labels": samples.labels,
        "accepted": [sorted(labels) for labels in samples.accepted],
        "files": [str(file) for file in reader.files] if isinstance(reader, PhotoFiles) else None,
    }  # fmt: skip


def set_from_plain(plain: Mapping[str, Any], place: Callable[[str], str]) -> LabelledSet:
    """Return what `plain_set` was given, for reading where its files are at other places."""
    files = plain["files"]
    reader = (
        SentPhotos(tuple(Path(place(name)) for name in files), tuple(files))
        if files is not None
        else open_arrays(Path(place(plain["source"]))).read
    )
    accepted = tuple(frozenset(labels) for labels in plain["accepted"])
    return LabelledSet(plain["source"], tuple(plain["names"]), tuple(plain["labels"]), reader, accepted)
