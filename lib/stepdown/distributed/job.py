"""What the shard engine runs: a job, the shards that it is cut into, and the hash that says what it is."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from stepdown import __version__

Arrays = dict[str, np.ndarray]
"""What a shard gives: named arrays, which can be written to an npz file."""

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
