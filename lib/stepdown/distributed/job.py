"""What the shard engine runs: a job, the shards that it is cut into, and the hash that says what it is."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from stepdown import __version__
from stepdown.distributed.freight import Arrays, Item

_SHARDS, _MOST_SAMPLES = 25, 64
_FORMAT = 1


class Task(Protocol):
    """A job that was opened in one process."""

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        """Return what the samples give; `on_sample` is called after each of them."""

    def close(self) -> None:
        """Release what `Job.open` took."""


class Job(Protocol):
    """Work on numbered samples. It is sent to other processes, so it holds paths and options, not open files."""

    def identity(self) -> Mapping[str, Any]:
        """Return everything that determines the result, as JSON: hashes of model and samples, options, versions."""

    def open(self) -> Task:
        """Load what the work needs; called once in every process."""

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        """Return what both give together; `more` comes from later samples. It may change `total`.

        Exact and associative, so that the result does not depend on how the samples were cut into shards.
        """


class RemoteJob(Job, Protocol):
    """A job that another machine can do as well: it crosses as JSON and the bytes of the files that it reads."""

    def shared_files(self) -> Sequence[Item]:
        """Return the files that every shard needs: models with all that they name."""

    def sample_files(self, samples: range) -> Sequence[Item]:
        """Return the files that the samples alone need; those that do not exist are left out."""

    def as_plain(self) -> Mapping[str, Any]:
        """Return JSON of which `from_plain` makes the job again; files by the names that the user gave."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], place: Callable[[str], str]) -> Job:
        """Return the job on another machine, where the file NAME is at `place(NAME)`; only its `open` will be used."""


def shards(total: int, size: int = 0) -> list[range]:
    """Return ranges of `size` samples that cover 0..total; 0: about 25 ranges, none above 64 samples.

    The number of workers plays no part: a run may be resumed with another one.
    """
    size = size or min(max(-(-total // _SHARDS), 1), _MOST_SAMPLES)
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def identity_hash(job: Job) -> str:
    """Return 32 hex digits that differ where the results of a shard may differ."""
    known = {
        "format": _FORMAT, "stepdown": __version__, "numpy": np.__version__, "machine": platform.machine(),
        "kind": type(job).__qualname__, "job": dict(job.identity()),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
