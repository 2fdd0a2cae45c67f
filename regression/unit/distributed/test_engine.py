"""Any number of workers, any cut into shards, killed or not: the same bytes; a lost worker costs only its shard."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepdown.distributed.engine import forget_shards, run_shards
from stepdown.distributed.job import Arrays, identity_hash, shards
from stepdown.distributed.progress import Progress, own_peak_bytes, peak_bytes
from stepdown.errors import InputError, ResourceError


@dataclass(frozen=True)
class Squares:
    """Sums the squares of all samples and keeps every sample's own."""

    folder: Path
    bad: int = -1
    deadly: int = -1
    lives: int = 0
    slow_s: float = 0.0

    def identity(self) -> Mapping[str, Any]:
        return {"bad": self.bad}

    def open(self) -> "Squares":
        return self

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        for sample in samples:
            self._meet(sample)
            on_sample()
        squares = np.array([sample * sample for sample in samples])
        return {"sum": squares.sum(keepdims=True), "each": squares}

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        return {"sum": total["sum"] + more["sum"], "each": np.concatenate([total["each"], more["each"]])}

    def close(self) -> None:
        (self.folder / f"closed-{os.getpid()}").touch()

    def _meet(self, sample: int) -> None:
        with open(self.folder / "log", "a") as log:
            log.write(f"{sample}\n")
        time.sleep(self.slow_s)
        if sample == self.bad:
            raise InputError("cannot be read", f"sample {sample}", "leave it out")
        deaths = len(list(self.folder.glob("death-*")))
        if sample == self.deadly and deaths < self.lives:
            (self.folder / f"death-{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def log(folder: Path) -> list[int]:
    return sorted(int(line) for line in (folder / "log").read_text().split())


def expected(total: int) -> Arrays:
    each = np.arange(total) ** 2
    return {"sum": each.sum(keepdims=True), "each": each}


def assert_same(one: Arrays, two: Arrays) -> None:
    assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in two.items()}


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, 5, 100])
def test_workers_and_shards_change_nothing(workers: int, size: int, tmp_path: Path) -> None:
    assert_same(run_shards(Squares(tmp_path), 23, workers=workers, shard_size=size), expected(23))
    assert log(tmp_path) == list(range(23))


def test_shards_cover_all_samples_once() -> None:
    for total in (0, 1, 24, 25, 26, 100, 1000, 5000):
        cut = shards(total)
        assert [n for shard in cut for n in shard] == list(range(total))
        assert max(map(len, cut), default=0) <= 64
    assert len(shards(100)) == 25


def test_progress_counts_every_sample_and_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.done, progress.total))
        assert progress.peak_bytes >= peak_bytes()

    run_shards(Squares(tmp_path), 10, workers=2, on_progress=note)
    assert sorted(seen) == [(n, 10) for n in range(1, 11)]


def test_an_error_in_a_worker_arrives_whole(tmp_path: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(InputError, match="sample 7: cannot be read; leave it out"):
            run_shards(Squares(tmp_path, bad=7), 12, workers=workers)


def test_finished_shards_are_not_done_again(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    with pytest.raises(InputError):
        run_shards(Squares(tmp_path, bad=9), 12, workers=1, shard_size=2, folder=parts)
    assert len(list(parts.iterdir())) == 4
    (tmp_path / "log").unlink()
    with pytest.raises(InputError):
        run_shards(Squares(tmp_path, bad=9), 12, workers=1, shard_size=2, folder=parts, resume=True)
    assert log(tmp_path) == [8, 9]
    (tmp_path / "log").unlink()
    job = Squares(tmp_path)  # another job: nothing of the first is taken
    assert_same(run_shards(job, 12, workers=2, shard_size=2, folder=parts, resume=True), expected(12))
    assert log(tmp_path) == list(range(12))
    forget_shards(job, parts)
    assert len(list(parts.iterdir())) == 4
    forget_shards(Squares(tmp_path, bad=9), parts)
    assert not parts.exists()


def test_a_broken_part_is_done_again(tmp_path: Path) -> None:
    parts, job = tmp_path / "parts", Squares(tmp_path)
    run_shards(job, 6, workers=1, shard_size=2, folder=parts)
    broken = sorted(parts.iterdir())[1]
    content = bytearray(broken.read_bytes())
    content[len(content) // 3] ^= 1
    broken.write_bytes(content)
    sorted(parts.iterdir())[2].write_bytes(b"")
    (tmp_path / "log").unlink()
    assert_same(run_shards(job, 6, shard_size=2, folder=parts, resume=True), expected(6))
    assert log(tmp_path) == [2, 3, 4, 5]


def test_a_killed_worker_costs_only_its_shard(tmp_path: Path) -> None:
    job = Squares(tmp_path, deadly=5, lives=2)
    seen: list[int] = []
    got = run_shards(job, 12, workers=2, shard_size=4, on_progress=lambda progress: seen.append(progress.done))
    assert_same(got, expected(12))
    assert seen[-1] == 12
    assert log(tmp_path) == sorted([*range(12), 4, 5, 4, 5])


def test_a_shard_that_kills_every_worker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"died 3 times over samples 5 to 8 \(exit code -9\)"):
        run_shards(Squares(tmp_path, deadly=5, lives=9), 12, workers=2, shard_size=4)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_engine import Squares
from stepdown.distributed.engine import run_shards
folder = Path(sys.argv[1])
run_shards(Squares(folder, slow_s=0.05), 40, workers=int(sys.argv[2]), shard_size=2, folder=folder / "parts")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_and_resume(workers: int, tmp_path: Path) -> None:
    script = KILLED.format(here=str(Path(__file__).parent))
    running = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(workers)])
    parts, job = tmp_path / "parts", Squares(tmp_path)
    wait_for(lambda: len(list(parts.glob("*.npz"))) >= 3)
    running.kill()
    running.wait()
    wait_until_quiet(tmp_path / "log")
    kept = len(list(parts.glob("[!.]*.npz")))
    assert 3 <= kept < 20
    (tmp_path / "log").unlink()
    assert_same(run_shards(job, 40, workers=2, shard_size=2, folder=parts, resume=True), expected(40))
    assert len(log(tmp_path)) == 40 - 2 * kept
    forget_shards(job, parts)
    assert not parts.exists()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_until_quiet(path: Path) -> None:
    """Return once workers without a parent have noticed it: nothing is written any more."""
    size = -1
    while size != path.stat().st_size:
        size = path.stat().st_size
        time.sleep(1.0)


def test_identity_tells_jobs_apart(tmp_path: Path) -> None:
    assert identity_hash(Squares(tmp_path)) == identity_hash(Squares(tmp_path / "elsewhere"))
    assert identity_hash(Squares(tmp_path)) != identity_hash(Squares(tmp_path, bad=1))


def test_peak_memory_is_of_this_process() -> None:
    assert 0 < own_peak_bytes() <= peak_bytes()
