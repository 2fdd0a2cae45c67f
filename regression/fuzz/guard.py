"""What a reader may not do while it reads one input: take long, take memory, write or read elsewhere."""

import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

MEMORY_BYTES = 1 << 30
TIME_LIMIT_S = 5.0

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events whose first argument is a path that is changed; `os.rename` and the links have two.
_CHANGES = (
    "os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.rmtree", "shutil.copyfile", "shutil.move",
)  # fmt: skip
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind")


class TooSlow(BaseException):
    """One input took longer than its time limit; no handler of the reader may take it for its own error."""


class Watch:
    """Notes, by an audit hook, every file opened or changed outside the folders where that is allowed."""

    def __init__(self, writable: Path, readable: Sequence[Path]) -> None:
        self._writable = _folders([writable])
        self._readable = _folders([writable, *readable])
        self._on = False
        self.violations: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Forget earlier violations and watch while the block runs."""
        self.violations.clear()
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        self._on = True
        try:
            yield
        finally:
            self._on = False
            sys.dont_write_bytecode = before

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            self._check_open(*arguments)
        elif event in _CHANGES:
            paths = arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]
            for path in paths:
                self._check(event, path, self._writable)
        elif event in _NEVER:
            self.violations.append(f"{event} {arguments!r:.200}")

    def _check_open(self, path: object, mode: object = None, flags: object = 0) -> None:
        writes = isinstance(flags, int) and flags & _WRITE_FLAGS
        self._check("writes" if writes else "reads", path, self._writable if writes else self._readable)

    def _check(self, what: str, path: object, allowed: tuple[str, ...]) -> None:
        if not isinstance(path, str | bytes | os.PathLike):  # an open descriptor, checked when it was opened
            return
        place = os.path.abspath(os.fsdecode(path))
        if place != os.devnull and not place.startswith(allowed):
            self.violations.append(f"{what} {place!r}")


def _folders(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(os.path.join(p, "") for path in paths for p in {os.path.abspath(path), os.path.realpath(path)})


def limit_memory(more_bytes: int = MEMORY_BYTES) -> None:
    """Let this process map `more_bytes` beyond what it has mapped now; asking for more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def time_limit(seconds: float = TIME_LIMIT_S) -> Iterator[None]:
    """Raise TooSlow in the block when it has computed for `seconds`, however busy the machine is."""
    signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"at {frame.f_code.co_filename}:{frame.f_lineno}" if frame else "")
