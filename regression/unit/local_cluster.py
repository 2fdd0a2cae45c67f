"""A Dask scheduler and workers of our own, as processes on the loopback of this machine, on free ports."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from checkout import PACKAGE, environment

LIMIT_S = 300
"""Only what hangs takes so long, on a busy machine too."""


class LocalCluster:
    """A scheduler and the workers that were started; all of them end with `close`.

    Workers run a copy of the package: who edits the checkout meanwhile does not make them another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "lib"
        shutil.copytree(PACKAGE, self.code / "stepdown")
        about = folder / "scheduler.json"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler = self._start("scheduler", "scheduler", "--host", "127.0.0.1", "--scheduler-file", str(about))
        wait_for(lambda: about.exists() and about.read_text().endswith("}"))
        self.address: str = json.loads(about.read_text())["address"]

    def start_worker(self, name: str, preload: str = "", **environs: str) -> None:
        """Start a worker in a folder of its own; `preload` is Python that it runs first."""
        words = [
            self.address,
            "--no-nanny",
            "--nthreads",
            "1",
            "--name",
            name,
            "--local-directory",
            str(self.place(name)),
        ]
        if preload:
            script = self.folder / f"{name}_preload.py"
            script.write_text(preload)
            words += ["--preload", str(script)]
        self.workers[name] = self._start(name, "worker", *words, **environs)

    def place(self, name: str) -> Path:
        """Return a worker's own folder."""
        return self.folder / name

    def log(self, name: str) -> str:
        """Return what a process has said."""
        return (self.folder / f"{name}.log").read_text()

    def runs_left(self) -> list[Path]:
        """Return what workers keep of runs."""
        return [path for name in self.workers for path in self.place(name).rglob("stepdown-*")]

    def close(self) -> None:
        """End all processes."""
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()

    def _start(self, name: str, command: str, *words: str, **environs: str) -> "subprocess.Popen[bytes]":
        self.place(name).mkdir()
        flag = "--port" if command == "scheduler" else "--worker-port"
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", command, *words, flag, "0", "--no-dashboard"],
                cwd=self.place(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(PYTHONPATH=str(self.code), **environs),
            )  # fmt: skip


def free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once something holds."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
