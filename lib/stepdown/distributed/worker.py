"""What runs in a worker process: shards that come through a pipe, until there are no more."""

import ctypes
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.distributed.job import Job
from stepdown.distributed.progress import own_peak_bytes
from stepdown.distributed.store import ShardStore
from stepdown.errors import StepError

_PARENT_CHECK_S = 0.5
_SET_THREADS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads")

# Messages of a worker: what happened, and what belongs to it.
SAMPLE, RESULT, FAILED = "sample", "result", "failed"


def serve(job: Job, store: ShardStore, channel: Connection, parent: int) -> None:
    """Answer every range that comes through `channel` with what its samples give; None ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers the interrupt key
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    use_one_thread()
    try:
        _serve(job, store, channel)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has gone
    except Exception as error:
        channel.send((FAILED, sendable(error)))


def use_one_thread() -> None:
    """Let matrix products of this process use one thread: how they are split may decide their last bits."""
    for library in openblas_libraries():
        for name in _SET_THREADS:
            if hasattr(library, name):
                getattr(library, name)(1)
                return


def openblas_libraries() -> Iterator[ctypes.CDLL]:
    """Yield the OpenBLAS that numpy brought along, if it did."""
    for library in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*"):
        yield ctypes.CDLL(str(library))


def sendable(error: Exception) -> Exception:
    """Return the error as it is, or its text where it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return StepError(f"{type(error).__name__}: {error}")
    return error


def _serve(job: Job, store: ShardStore, channel: Connection) -> None:
    task = job.open()
    try:
        while (samples := channel.recv()) is not None:
            arrays = task.run(samples, lambda: channel.send((SAMPLE, None)))
            store.save(samples, arrays)
            message: tuple[str, Any] = (RESULT, (arrays, own_peak_bytes()))
            channel.send(message)
    finally:
        task.close()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)
