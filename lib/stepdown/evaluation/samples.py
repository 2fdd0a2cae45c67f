"""Labelled samples: how they are found, named and read, whatever holds them."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from stepdown.errors import InputError

IMAGENET_CLASSES = 1000


class Reader(Protocol):
    """Reads samples by number; it can be sent to other processes."""

    def __call__(self, index: int) -> np.ndarray:
        """Return a sample; raises InputError where it cannot be read."""

    def fingerprint(self, index: int) -> str:
        """Return what differs where a sample does."""


@dataclass(frozen=True)
class LabelledSet:
    """Samples with their labels; one is read when it is asked for.

    `read(i)` returns pixels uint8[h, w, 3] (or [h, w], [3, h, w], … from an array), or a float tensor: the network's
    input as it is. `accepted`, where there is such a file, holds all labels that count as right, the primary one too.
    `class_names` are the names that the data itself has, by label.
    """

    source: str
    names: tuple[str, ...]
    labels: tuple[int, ...]
    read: Reader
    accepted: tuple[frozenset[int], ...] = ()
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def accepted_of(self, index: int) -> frozenset[int]:
        """Return the labels that count as right for a sample."""
        return self.accepted[index] if self.accepted else frozenset((self.labels[index],))

    def shifted(self, offset: int | None, classes: int) -> "LabelledSet":
        """Return the set with all labels + `offset` (None: 0), for a network of `classes` classes.

        Raises:
            InputError: a label, or accepted label, that the network has no class for, named with its sample; or a
                network of one class more than ImageNet has, and no offset: whether its class 0 is the background is not
                for us to guess.
        """
        if offset is None and classes == IMAGENET_CLASSES + 1 and max(self.labels) < IMAGENET_CLASSES:
            raise InputError(
                f"the network has {classes} classes, ImageNet {IMAGENET_CLASSES}", self.source,
                "give --label_offset 1 if class 0 is the background, else --label_offset 0",
            )  # fmt: skip
        added = offset or 0
        for index, label in enumerate(self.labels):
            self._check_label(index, "label", label, added, classes)
            for more in sorted(self.accepted_of(index)):
                self._check_label(index, "accepted label", more, added, classes)
        return replace(
            self,
            labels=tuple(label + added for label in self.labels),
            accepted=tuple(frozenset(label + added for label in labels) for labels in self.accepted),
        )

    def check_files(self, indices: Sequence[int]) -> None:
        """Raise InputError where photos that are to be read are not there: now, not after hours of work."""
        missing = [i for i in indices if isinstance(self.read, PhotoFiles) and not self.read.fingerprint(i)]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(indices)} photos are missing, the first is '{self.names[missing[0]]}'",
                self.source,
                "--skip_unreadable counts such samples and goes on",
            )

    def _check_label(self, index: int, kind: str, label: int, added: int, classes: int) -> None:
        if not 0 <= label + added < classes:
            text = f"{kind} {label}" + (f" with the offset {added}" if added else "")
            raise InputError(
                f"{text} of '{self.names[index]}' is none of the network's {classes} classes", self.source,
                "--label_offset N adds N to every label",
            )  # fmt: skip


@dataclass(frozen=True)
class PhotoFiles:
    """Reads photos from files."""

    files: tuple[Path, ...]

    def __call__(self, index: int) -> np.ndarray:
        """Return the pixels uint8[h, w, 3] of a photo; raises InputError."""
        from stepdown.data.image import load_image

        return load_image(self.files[index])

    def fingerprint(self, index: int) -> str:
        """Return size and date of a file, "" where there is none."""
        try:
            known = self.files[index].stat()
        except OSError:
            return ""
        return f"{known.st_size} {known.st_mtime_ns}"


@dataclass(frozen=True)
class ArrayRows:
    """Reads samples from an array[N, …]."""

    array: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        """Return a sample as it is stored."""
        return self.array[index]

    def fingerprint(self, index: int) -> str:
        """Return a hash of a sample's bytes."""
        return hashlib.sha256(self.array[index].tobytes()).hexdigest()


def chosen(total: int, count: int = 0, seed: int = 0) -> list[int]:
    """Return `count` numbers below `total` (0 or too many: all) by `random.Random(seed).sample`, in order."""
    return sorted(random.Random(seed).sample(range(total), count)) if 0 < count < total else list(range(total))


def class_number(text: str) -> int | None:
    """Return the class that a text of digits names, None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def duplicates(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
