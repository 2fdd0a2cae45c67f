"""What runs in a worker of a cluster: `answer` is asked by a client, one message at a time.

A message is a line of JSON that says what is wanted (`ask`) and of which run, with bytes behind it:

    report      what decides the bytes of results here (`machine.report`)
    keep        write pieces of files
    shard       do a range of samples: the answer is its arrays, or `missing`, the files to be sent first

Every file has its SHA-256. One that this machine sees under the client's path, with that very hash, is copied and not
sent. A run has a folder in the worker's scratch folder; errors tell the names that the user gave.
"""

import contextlib
import importlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any

from stepdown.distributed.freight import Arrays, Header, folder_of, inside, keep_pieces, pack, place_of
from stepdown.distributed.job import Job, Task
from stepdown.distributed.machine import report
from stepdown.distributed.progress import own_peak_bytes
from stepdown.distributed.worker import use_one_thread
from stepdown.errors import StepError
from stepdown.files.hashes import sha256_file

JOB_FILE = "job.json"
READY_ANSWER = pack({})
"""What a worker that has this module gives where it is asked for `READY_NAME`, with nothing of ours in the question."""
READY_NAME = f"{__name__}:READY_ANSWER"
_MOST_RUNS = 4
_TELL_EVERY_S = 0.5


class Forgotten(Exception):
    """The client has gone, or ended the run."""


@dataclass
class Run:
    """What a worker holds of one client's run."""

    folder: Path
    hashes: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    """By folder of the run, what the names of the files in it begin with."""
    task: Task | None = None
    forgotten: bool = False
    work: threading.Lock = field(default_factory=threading.Lock)

    def lacks(self, item: Header) -> bool:
        """Return whether a file is neither here yet nor under its own path on this machine."""
        place, wanted = item["place"], item["sha256"]
        path = inside(self.folder, place)
        self.prefixes[folder_of(item["prefix"])] = item["prefix"]
        if self.hashes.get(place) == wanted and path.is_file():
            return False
        if not path.is_file() and item["source"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                copyfile(item["source"], path)
        if path.is_file() and sha256_file(path) == wanted:
            self.hashes[place] = wanted
            return False
        path.unlink(missing_ok=True)
        return True

    def drop(self, items: Sequence[Header]) -> None:
        """Delete files that no other shard reads."""
        for item in items:
            self.hashes.pop(item["place"], None)
            inside(self.folder, item["place"]).unlink(missing_ok=True)

    def opened(self) -> Task:
        """Return the job, opened once."""
        if self.task is None:
            use_one_thread()
            self.task = read_job(self.folder).open()
        return self.task

    def as_given(self, text: str) -> str:
        """Return a text with the names of files that the user gave."""
        for folder, prefix in self.prefixes.items():
            text = text.replace(f"{self.folder}/{folder}/", prefix)
        return text

    def close(self) -> None:
        """Let go of models and files."""
        task, self.task = self.task, None
        if task is not None:
            task.close()
        rmtree(self.folder, ignore_errors=True)


_RUNS: dict[str, Run] = {}
_ENDED: deque[str] = deque(maxlen=1000)
"""Runs whose clients have gone: a message that comes late must not begin them anew."""


def answer(request: str, data: bytes) -> bytes:
    """Return the answer to a client's message; called by Dask in a worker."""
    header: Header = json.loads(request)
    ask = header["ask"]
    if ask == "report":
        return pack({"report": report()})
    run = _run_of(header["run"])
    with run.work:
        answered = pack({"missing": []}) if run.forgotten else _answered(run, header, data)
    if run.forgotten:
        run.close()
    return answered


def forget(run_id: str) -> None:
    """End a run: what is at work stops at its next sample; models and files are let go."""
    _ENDED.append(run_id)
    _let_go(run_id)


def _let_go(run_id: str) -> None:
    run = _RUNS.pop(run_id, None)
    if run is not None:
        run.forgotten = True
        if not run.work.locked():
            run.close()


def describe_job(job: Any) -> str:
    """Return the JSON of which `read_job` makes the job again."""
    kind = type(job)
    return json.dumps({"kind": f"{kind.__module__}:{kind.__qualname__}", "job": job.as_plain()})


def read_job(folder: Path) -> Job:
    """Return the job that was sent to a run's folder."""
    described = json.loads((folder / place_of(JOB_FILE)).read_text())
    module, _, name = described["kind"].partition(":")
    found: Job = getattr(importlib.import_module(module), name).from_plain(
        described["job"], lambda name: str(folder / place_of(name))
    )
    return found


def _run_of(run_id: str) -> Run:
    """Return a client's run, new if need be; runs whose clients did not end them are few."""
    run = _RUNS.get(run_id)
    if run is None:
        from distributed import get_worker

        for old in list(_RUNS)[: 1 - _MOST_RUNS]:
            _let_go(old)
        run = _RUNS[run_id] = Run(Path(get_worker().local_directory).resolve() / f"stepdown-{run_id}")
        if run_id in _ENDED:
            _let_go(run_id)
    return run


def _answered(run: Run, header: Header, data: bytes) -> bytes:
    if header["ask"] == "shard":
        return _shard(run, header)
    keep_pieces(run.folder, header, data)
    return pack({})


def _shard(run: Run, header: Header) -> bytes:
    """Return the arrays of a range of samples, the files that it lacks, or the error that it ends with."""
    shared, own = header["files"], header["sample_files"]
    if missing := [item["place"] for item in [*shared, *own] if run.lacks(item)]:
        return pack({"missing": missing})
    samples = range(header["first"], header["stop"])
    try:
        arrays: Arrays = run.opened().run(samples, _teller(run, header))
    except Forgotten:
        return pack({"missing": []})
    except Exception as error:
        return pack({"error": _plain_error(error, run.as_given)})
    finally:
        run.drop(own)
    return pack({"peak": own_peak_bytes()}, arrays)


def _teller(run: Run, header: Mapping[str, Any]) -> Callable[[], None]:
    """Return what is called after every sample: it tells the client now and then how many are done."""
    from distributed import get_worker

    worker, told, done = get_worker(), time.monotonic(), 0

    def tell() -> None:
        nonlocal told, done
        if run.forgotten:
            raise Forgotten
        done += 1
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            worker.log_event(header["run"], {"first": header["first"], "done": done})

    return tell


def _plain_error(error: Exception, as_given: Callable[[str], str]) -> dict[str, str]:
    if isinstance(error, StepError):
        parts = {name: as_given(getattr(error, name)) for name in ("what", "where", "fix")}
        return {"kind": type(error).__name__, **parts}
    return {
        "kind": StepError.__name__,
        "what": f"{type(error).__name__}: {as_given(str(error))}",
        "where": "",
        "fix": "",
    }
