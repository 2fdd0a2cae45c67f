"""Tensors of many samples, kept in files: memory holds one sample's, whatever their number."""

import tempfile
from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np


class Spool:
    """Arrays by key and sample; all arrays of a key have one shape and type. Use as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stepdown_")
        self._files: dict[Hashable, tuple[Path, np.dtype, tuple[int, ...]]] = {}
        self._next = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._files

    def write(self, key: Hashable, arrays: Iterator[np.ndarray]) -> None:
        """Write the arrays of all samples under a new key, one at a time."""
        path = Path(self._folder.name) / str(self._next)
        self._next += 1
        with path.open("wb") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).tobytes())
                self._files[key] = path, array.dtype, array.shape

    def read(self, key: Hashable, sample: int) -> np.ndarray:
        """Return the array of one sample."""
        path, dtype, shape = self._files[key]
        count = int(np.prod(shape, dtype=np.int64))
        return np.fromfile(path, dtype, count, offset=sample * count * dtype.itemsize).reshape(shape)

    def drop(self, key: Hashable) -> None:
        """Forget a key, if it is there, and free its disk space."""
        if key in self._files:
            self._files.pop(key)[0].unlink()
