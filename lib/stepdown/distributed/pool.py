"""Worker processes on this machine; one that is killed costs the shard that it was at."""

import multiprocessing
import os
from collections.abc import Generator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from stepdown.distributed.job import Arrays, Job
from stepdown.distributed.progress import Progress
from stepdown.distributed.store import ShardStore
from stepdown.distributed.worker import FAILED, SAMPLE, serve
from stepdown.errors import ResourceError

_MOST_LOSSES = 3
_MOST_WORKERS = 8


def usable_cpus() -> int:
    """Return how many workers a run has where the user does not say: a CPU each, 8 at most."""
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


class Worker:
    """A process and the shard that it is at."""

    def __init__(self, job: Job, store: ShardStore) -> None:
        context = multiprocessing.get_context("fork")
        self.channel, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(job, store, theirs, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.shard: range | None = None
        self.told = 0

    def start(self, shard: range) -> None:
        """Hand out a shard; a worker that is dead already shows when it is read from."""
        self.shard, self.told = shard, 0
        try:
            self.channel.send(shard)
        except (BrokenPipeError, ConnectionResetError):
            return

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.channel.close()


class Pool:
    """Hands shards to workers; iterating gives every shard with its result, in the order in which they end."""

    def __init__(self, job: Job, store: ShardStore, workers: int, progress: Progress) -> None:
        self._job, self._store, self._count, self._progress = job, store, workers, progress
        self._workers: dict[Connection, Worker] = {}
        self._losses: dict[range, int] = {}

    def run(self, waiting: list[range]) -> Generator[tuple[range, Arrays] | None]:
        """Yield every shard with its result, and None whenever the progress changed.

        Raises:
            ResourceError: workers were killed again and again at the same shard.
        """
        waiting = waiting[::-1]
        try:
            while waiting or self._busy():
                self._hand_out(waiting)
                for channel in wait([worker.channel for worker in self._busy()]):
                    assert isinstance(channel, Connection)
                    yield self._listen(self._workers[channel], waiting)
        finally:
            for worker in self._workers.values():
                worker.stop()

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.shard is not None]

    def _hand_out(self, waiting: list[range]) -> None:
        while waiting and len(self._busy()) < self._count:
            idle = next((worker for worker in self._workers.values() if worker.shard is None), None)
            if idle is None:
                idle = Worker(self._job, self._store)
                self._workers[idle.channel] = idle
            idle.start(waiting.pop())

    def _listen(self, worker: Worker, waiting: list[range]) -> tuple[range, Arrays] | None:
        """Return the shard that a worker has finished with its result, None where it had other news."""
        shard = worker.shard
        assert shard is not None
        try:
            kind, message = worker.channel.recv()
        except (EOFError, ConnectionResetError):
            waiting.append(self._lost(worker, shard))
            return None
        if kind == FAILED:
            raise message
        if kind == SAMPLE:
            worker.told += 1
            self._progress.done += 1
            return None
        worker.shard = None
        arrays, self._progress.workers[worker.process.pid or 0] = message
        return shard, arrays

    def _lost(self, worker: Worker, shard: range) -> range:
        """Forget a worker that died, and return its shard, which another one shall do."""
        self._progress.done -= worker.told
        del self._workers[worker.channel]
        worker.stop()
        self._losses[shard] = self._losses.get(shard, 0) + 1
        if self._losses[shard] == _MOST_LOSSES:
            ended = f"exit code {worker.process.exitcode}"
            raise ResourceError(
                f"workers died {_MOST_LOSSES} times over samples {shard.start + 1} to {shard.stop} ({ended})",
                fix="the machine may be out of memory: take fewer --workers",
            )
        return shard
