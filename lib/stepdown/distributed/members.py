"""The workers of a cluster as a client sees them: which have joined and gone, and what is said with each."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from stepdown import errors
from stepdown.distributed.freight import Arrays, Header, Item, messages
from stepdown.distributed.job import RemoteJob
from stepdown.errors import InputError, StepError

_MOST_ROUNDS = 5
READY = "ready"

Talk = Generator[tuple[Header, bytes], tuple[Header, Arrays], tuple[Header, Arrays]]
"""A conversation: messages go out, answers come in, and the last one is what was wanted."""


@dataclass(eq=False)
class Member:
    """A worker that has joined; its `key` is address and name, `number` counts them as they were seen."""

    key: tuple[str, str]
    number: int
    talk: Talk | None = None
    future: Any = None
    admitted: bool = False
    shard: range | None = None
    told: int = 0

    @property
    def address(self) -> str:
        """Where Dask reaches the worker."""
        return self.key[0]

    @property
    def idle(self) -> bool:
        """Whether it may be given a shard."""
        return self.admitted and self.talk is None


def ask_report() -> Talk:
    """Ask whether a worker has this package at all, then what decides the bytes of results there."""
    yield {"ask": READY}, b""
    return (yield {"ask": "report"}, b"")


def ask_shard(run_id: str, job: RemoteJob, shared: Sequence[Item], shard: range) -> Talk:
    """Have a range of samples done, and send the files that the worker lacks.

    Raises:
        StepError: what a sample raised.
    """
    own = [item for item in job.sample_files(shard) if item not in shared]
    known = {item.place: item for item in (*shared, *own)}
    wanted = {
        "ask": "shard", "run": run_id, "first": shard.start, "stop": shard.stop,
        "files": [item.as_plain() for item in shared], "sample_files": [item.as_plain() for item in own],
    }  # fmt: skip
    for _ in range(_MOST_ROUNDS):
        header, arrays = yield wanted, b""
        if "error" in header:
            raise error_of(header["error"])
        if "missing" not in header:
            return header, arrays
        for pieces, data in messages([known[place] for place in header["missing"]]):
            yield {"ask": "keep", "run": run_id, **pieces}, data
    raise InputError("cannot be kept by a worker", ", ".join(header["missing"]), "is the disk of the worker full?")


def error_of(plain: dict[str, Any]) -> StepError:
    """Return the error that a worker tells of."""
    kind = getattr(errors, plain["kind"], StepError)
    made: StepError = kind(plain["what"], plain["where"], plain["fix"])
    return made
