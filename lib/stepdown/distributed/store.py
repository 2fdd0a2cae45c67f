"""Results of finished shards in a folder, so that a killed run can go on."""

import contextlib
import os
from pathlib import Path

from stepdown.distributed.job import Arrays
from stepdown.errors import InputError
from stepdown.files.npz import NpzFile, write_npz


class ShardStore:
    """A folder with a file a finished shard, named after what determines its result.

    Files are written whole or not at all; those of other jobs are left alone. No folder: nothing is kept.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, identity: str) -> None:
        self._folder, self._identity = Path(folder) if folder else None, identity

    def open(self) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be made.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot keep finished shards there ({error.strerror})", str(self._folder)) from None

    def save(self, samples: range, arrays: Arrays) -> None:
        """Keep what a shard gave."""
        if self._folder is not None:
            write_npz(self._folder / self._name(samples), arrays)

    def load(self, samples: range) -> Arrays | None:
        """Return what was kept of a shard, None where there is nothing or the file is broken."""
        path = self._folder / self._name(samples) if self._folder else None
        if path is None or not path.is_file():
            return None
        try:
            with contextlib.closing(NpzFile(path)) as stored:
                return dict(stored)
        except InputError:
            return None

    def remove(self) -> None:
        """Delete what was kept of this job, what a killed run left half-written, and the folder if it is empty then."""
        if self._folder is None:
            return
        for path in self._folder.glob(f"*{self._identity}*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _name(self, samples: range) -> str:
        """Return the name of a shard's file."""
        return f"{self._identity}-{samples.start:07d}-{samples.stop:07d}.npz"
