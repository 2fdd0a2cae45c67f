"""Hands shards to the workers of a Dask cluster; one that is lost costs the shard that it was at.

Dask is the transport: it says who has joined and gone, and brings messages to one worker and answers back
(`remote.answer`). Which worker does what is decided here, as in `pool`, so that only workers that compute the same
bytes as this machine take part, and a shard that kills them is found.
"""

import contextlib
import json
import pkgutil
import queue
import time
import uuid
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from stepdown.distributed.cluster import Cluster
from stepdown.distributed.freight import Arrays, Header, held_item, unpack
from stepdown.distributed.job import RemoteJob
from stepdown.distributed.machine import differences, report
from stepdown.distributed.members import READY, Member, ask_report, ask_shard
from stepdown.distributed.progress import Progress
from stepdown.distributed.remote import JOB_FILE, READY_NAME, answer, describe_job, forget
from stepdown.distributed.store import ShardStore
from stepdown.errors import InputError, ResourceError

if TYPE_CHECKING:
    from distributed import Client

_MOST_LOSSES = 3
_LOOK_EVERY_S = 0.25
_GOODBYE_S = 2.0
_FETCH_S = 1.0

News = tuple[Member | None, Any]
"""A worker with the future of its answer; or None with what a worker tells of its progress."""


class Dispatch:
    """Hands shards to the workers of a cluster; iterating gives every shard with its result, as they end."""

    def __init__(self, job: RemoteJob, store: ShardStore, cluster: Cluster, progress: Progress) -> None:
        self._job, self._store, self._cluster, self._progress = job, store, cluster, progress
        self._run_id = uuid.uuid4().hex
        self._shared = [*job.shared_files(), held_item(JOB_FILE, describe_job(job).encode())]
        self._ours = report()
        self._members: dict[tuple[str, str], Member] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self._losses: dict[range, int] = {}
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._seen = self._asked = 0
        self._looked = self._alone_since = 0.0
        self._admitted = False

    def run(self, waiting: list[range]) -> Generator[tuple[range, Arrays] | None]:
        """Yield every shard with its result, and None whenever the progress changed.

        Raises:
            InputError: no scheduler answers, or it has no worker that computes the same bytes.
            ResourceError: workers were lost again and again at the same shard, none came, or the scheduler has gone.
        """
        if not waiting:
            return
        self._waiting = waiting[::-1]
        self._client = self._cluster.connect()
        try:
            self._client.subscribe_topic(self._run_id, self._heard)
            yield from self._loop()
        finally:
            self._leave()

    def _loop(self) -> Generator[tuple[range, Arrays] | None]:
        while self._waiting or any(member.shard is not None for member in self._members.values()):
            self._look()
            self._hand_out()
            try:
                member, what = self._news.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                continue
            before = self._progress.done
            finished = self._answered(member, what) if member else self._samples_done(what)
            if self._progress.done != before:
                yield None
            if finished is not None:
                self._store.save(*finished)
                yield finished

    # --- who is there

    def _look(self) -> None:
        """Notice, now and then, who has joined and who has gone."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        present = self._present()
        for key in self._members.keys() - present:
            self._lost(self._members.pop(key))
        for key in sorted(present - self._members.keys() - self._refused.keys()):
            self._seen += 1
            member = self._members[key] = Member(key, self._seen)
            self._say(member, ask_report())
        self._progress.joined = sum(member.admitted for member in self._members.values())
        self._check_alone(now)

    def _present(self) -> set[tuple[str, str]]:
        """Return address and identity of every worker that the scheduler knows.

        Raises:
            ResourceError: the scheduler has gone.
        """
        info = self._client.scheduler_info() if self._client.status == "running" else None
        if info is None or self._client.status != "running":
            raise ResourceError("the scheduler has gone", self._cluster.address, "start it again and use --resume")
        return {(address, str(known["id"])) for address, known in info["workers"].items()}

    def _check_alone(self, now: float) -> None:
        """Raise where no worker is of use and none can be waited for."""
        if self._progress.joined:
            self._alone_since = 0.0
            return
        if self._refused and not self._members and not self._admitted:
            raise InputError(f"every worker is refused: {'; '.join(self._refused.values())}", self._cluster.address)
        wait_s = self._cluster.wait_s
        if not self._alone_since:
            self._alone_since = now
            if not self._members:
                self._cluster.tell(f"waiting up to {wait_s:g} s for a worker to join {self._cluster.address}")
        elif now - self._alone_since > wait_s:
            raise ResourceError(
                f"no worker was ready within {wait_s:g} s", self._cluster.address,
                f"start one: dask worker {self._cluster.address} --nthreads 1",
            )  # fmt: skip

    def _lost(self, member: Member) -> None:
        """Forget a worker that has gone; another one shall do its shard.

        Raises:
            ResourceError: too many were lost at it.
        """
        if member.future is not None:
            member.future.cancel()
        member.talk, member.future, shard, member.shard = None, None, member.shard, None
        if shard is None:
            return
        self._progress.done -= member.told
        self._waiting.append(shard)
        self._losses[shard] = self._losses.get(shard, 0) + 1
        self._cluster.tell(f"worker {member.address} is lost; samples {shard.start + 1} to {shard.stop} are done again")
        if self._losses[shard] == _MOST_LOSSES:
            raise ResourceError(
                f"workers were lost {_MOST_LOSSES} times over samples {shard.start + 1} to {shard.stop}",
                self._cluster.address, "they may be out of memory: start fewer on a machine",
            )  # fmt: skip

    # --- what is said

    def _hand_out(self) -> None:
        for member in self._members.values():
            if self._waiting and member.idle:
                member.shard, member.told = self._waiting.pop(), 0
                self._say(member, ask_shard(self._run_id, self._job, self._shared, member.shard))

    def _say(self, member: Member, talk: Any) -> None:
        member.talk = talk
        self._send(member, *next(talk))

    def _send(self, member: Member, header: Header, data: bytes) -> None:
        self._asked += 1
        # A worker that lacks what a message names cannot read it, and would break off with its scheduler.
        ready = header["ask"] == READY
        call = (pkgutil.resolve_name, READY_NAME) if ready else (answer, json.dumps(header), data)
        member.future = self._client.submit(
            *call, key=f"stepdown-{self._run_id}-{self._asked}",
            workers=[member.address], allow_other_workers=False, pure=False,
        )  # fmt: skip
        member.future.add_done_callback(lambda future: self._news.put((member, future)))

    def _heard(self, event: tuple[float, Any]) -> None:
        self._news.put((None, event[1]))

    def _samples_done(self, told: Header) -> tuple[range, Arrays] | None:
        """Count what a worker tells of the shard it is at."""
        for member in self._members.values():
            if member.shard is not None and member.shard.start == told["first"]:
                self._progress.done += max(told["done"] - member.told, 0)
                member.told = max(told["done"], member.told)
        return None

    def _answered(self, member: Member, future: Any) -> tuple[range, Arrays] | None:
        """Go on with what was said with a worker; return its shard with the result where that is the end."""
        if future is not member.future or member.talk is None:
            return None
        message = self._fetched(member, future) if future.status == "finished" else None
        if message is None:
            self._failed(member, future)
            return None
        header, arrays = unpack(message)
        try:
            self._send(member, *member.talk.send((header, arrays)))
        except StopIteration:
            member.talk = member.future = None
            return self._ended(member, header, arrays)
        return None

    def _fetched(self, member: Member, future: Any) -> bytes | None:
        """Return an answer, None where its worker has gone before it was fetched: Dask would wait for it for ever."""
        limit_s = _FETCH_S
        while True:
            try:
                answered: bytes = future.result(timeout=limit_s)
                return answered
            except TimeoutError:
                if member.key not in self._present():
                    return None
                limit_s *= 2
            except OSError:
                return None

    def _ended(self, member: Member, header: Header, arrays: Arrays) -> tuple[range, Arrays] | None:
        if member.shard is None:
            self._admit(member, differences(header["report"], self._ours))
            return None
        shard, member.shard = member.shard, None
        self._progress.done += len(shard) - member.told
        self._progress.workers[member.number] = header["peak"]
        return shard, arrays

    def _admit(self, member: Member, difference: str) -> None:
        """Take a worker that computes the same bytes, refuse any other for good."""
        if not difference:
            member.admitted = self._admitted = True
            return
        del self._members[member.key]
        self._refused[member.key] = f"worker {member.address}: {difference}"
        self._cluster.tell(f"refused worker {member.address}: {difference}")

    def _failed(self, member: Member, future: Any) -> None:
        """Deal with an answer that is none: `remote.answer` itself tells of every error in a shard."""
        from distributed import KilledWorker

        error = future.exception() if future.status == "error" else None
        member.future = member.talk = None
        if error is None or isinstance(error, KilledWorker):
            self._members.pop(member.key, None)  # it joins anew, and is asked anew, if it is still there
            self._lost(member)
        elif member.shard is None:
            self._admit(member, f"has no stepdown, or another one ({type(error).__name__}: {error})")
        else:
            raise ResourceError(f"worker {member.address} failed ({type(error).__name__}: {error})")

    def _leave(self) -> None:
        """Cancel what is outstanding, let the workers forget the run, and close the connection."""
        client: Client = self._client
        with contextlib.suppress(Exception):
            client.cancel([member.future for member in self._members.values() if member.future is not None])
            addresses = [member.address for member in self._members.values() if member.admitted]
            if addresses and client.status == "running":
                client.sync(
                    client._run, forget, self._run_id, workers=addresses, on_error="ignore",
                    callback_timeout=_GOODBYE_S,
                )  # fmt: skip
        with contextlib.suppress(Exception):
            client.close(timeout=_GOODBYE_S)
