"""Runs a job over all samples: in this process, in several on this machine, or on a cluster; what finished is kept.

The result is the same bytes for any number of workers, any size of the shards, and whether or not the run was killed
and resumed: shards do not depend on the workers, their results are merged in the order of the samples, and merging is
exact and associative (`Job.merge`).
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable
from typing import cast

from stepdown.distributed.cluster import Cluster
from stepdown.distributed.job import Arrays, Job, RemoteJob, identity_hash, shards
from stepdown.distributed.pool import Pool, usable_cpus
from stepdown.distributed.progress import Progress
from stepdown.distributed.store import ShardStore
from stepdown.distributed.worker import use_one_thread

OnProgress = Callable[[Progress], None]


def run_shards(
    job: Job,
    total: int,
    *,
    workers: int = 0,
    cluster: Cluster | None = None,
    shard_size: int = 0,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_progress: OnProgress = lambda progress: None,
) -> Arrays:
    """Return what all samples 0..total give, merged.

    `workers` processes (0: a CPU each; 1: none besides this one) do shards of `shard_size` samples (0: chosen by
    `total`); or, of a `RemoteJob`, the workers of a `cluster`, however many they are. Where a `folder` is given,
    finished shards are kept there until `forget_shards`; with `resume` those of an earlier run of this very job are
    not done again. `on_progress` is called after every sample, on a cluster now and then.

    Raises:
        StepError: the first error of a sample.
        ResourceError: workers were killed again and again, or a cluster has none, or has gone.
        InputError: the cluster cannot be reached, or none of its workers computes the same bytes.
    """
    store = ShardStore(folder, identity_hash(job))
    store.open()
    waiting = shards(total, shard_size)
    kept = {shard for shard in waiting if resume and store.load(shard) is not None}
    done_before = sum(map(len, kept))
    progress = Progress(total, done_before, done_before)
    if kept:
        on_progress(progress)
    left = [shard for shard in waiting if shard not in kept]
    with contextlib.closing(_run(job, store, left, workers, cluster, progress, on_progress)) as finished:
        return _merged(job, store, waiting, kept, finished)


def forget_shards(job: Job, folder: str | os.PathLike[str]) -> None:
    """Delete what `run_shards` kept of a job, once its result is safe."""
    ShardStore(folder, identity_hash(job)).remove()


Finished = Generator[tuple[range, Arrays]]
News = Generator[tuple[range, Arrays] | None]


def _run(
    job: Job, store: ShardStore, left: list[range], workers: int, cluster: Cluster | None, progress: Progress,
    on_progress: OnProgress,
) -> Finished:  # fmt: skip
    """Return what gives every shard with its result, wherever they are done."""
    if cluster is not None:
        from stepdown.distributed.dispatch import Dispatch

        return _elsewhere(Dispatch(cast(RemoteJob, job), store, cluster, progress).run(left), progress, on_progress)
    count = min(workers or usable_cpus(), len(left))
    if count > 1:
        return _elsewhere(Pool(job, store, count, progress).run(left), progress, on_progress)
    return _in_process(job, store, left, progress, on_progress)


def _elsewhere(news: News, progress: Progress, on_progress: OnProgress) -> Finished:
    with contextlib.closing(news):
        for item in news:
            if item is None:
                on_progress(progress)
            else:
                yield item


def _in_process(
    job: Job, store: ShardStore, left: list[range], progress: Progress, on_progress: OnProgress
) -> Finished:
    def tell() -> None:
        progress.done += 1
        on_progress(progress)

    if not left:
        return
    use_one_thread()
    task = job.open()
    try:
        for shard in left:
            arrays = task.run(shard, tell)
            store.save(shard, arrays)
            yield shard, arrays
    finally:
        task.close()


def _merged(job: Job, store: ShardStore, order: Iterable[range], kept: set[range], finished: Finished) -> Arrays:
    """Return all results merged in the order of the samples; one that ends early waits for those before it."""
    total: Arrays = {}
    early: dict[range, Arrays] = {}
    for shard in order:
        while shard not in kept and shard not in early:
            done, arrays = next(finished)
            early[done] = arrays
        found = early.pop(shard, None) or store.load(shard) or {}
        total = job.merge(total, found) if total else found
    return total
