"""How the work of a kernel is cut, where measuring has found better than its rule of cost.

A workload is a text that says all on which the best cut depends: what a kernel sums over, and by which instructions.
A schedule names the numbers of the cut. The table that comes with Stepdown, `schedules.toml`, is part of the code: the
same command makes the same bytes everywhere. What was found on a user's own computer lies in a cache, one file a
workload, and is read only by those who ask for it.
"""

import hashlib
import json
import os
import platform
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stepdown.errors import InputError
from stepdown.files.atomic import write_text

if TYPE_CHECKING:
    from stepdown.native.machine import Machine

Schedule = Mapping[str, int]

_FOLDER = Path(__file__).parent
_TABLE = _FOLDER / "schedules.toml"
_SOURCES = (
    "build.py", "code.py", "constant_products.py", "cook_toom.py", "dots.py", "effort.py", "halves.py", "layouts.py",
    "machine.py", "network.py", "rescaling.py", "tensors.py", "tir.py", "kernels",
)  # fmt: skip
"""What decides how fast a schedule is: what was found for other sources is not read."""


class Schedules(Protocol):
    """What is known of workloads."""

    def get(self, workload: str, /) -> Schedule | None:
        """Return the schedule of a workload, None where its rule decides."""


@cache
def shipped(processor: str) -> Schedules:
    """Return the table for a processor, as LLVM calls it."""
    tables = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    found: dict[str, Schedule] = tables.get(processor, {})
    return found


class Cache:
    """What was found on this computer for a processor that code is made for; what is not there is the table's.

    Processes may write and read it at once: files appear whole. A file that is not what was written is left out, with
    one line on stderr.
    """

    def __init__(self, machine: "Machine", folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()
        self._table = machine.schedules
        self._common = [machine.triple, machine.processor, *machine.features, this_processor(), _version()]

    def get(self, workload: str, /) -> Schedule | None:
        """Return the schedule of a workload: the one that was found here, or that of the table."""
        return self.found(workload) or self._table.get(workload)

    def found(self, workload: str) -> Schedule | None:
        """Return the schedule that was found here."""
        path = self._path(workload)
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            return _checked(read, workload)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            print(f"{path}: is left out, it is no schedule ({error}); delete it", file=sys.stderr)
            return None

    def keep(self, workload: str, schedule: Schedule, seconds: Mapping[str, float]) -> None:
        """Write what was found.

        Raises:
            InputError: the folder cannot be written.
        """
        made = {"workload": workload, "schedule": dict(schedule), "seconds": dict(seconds)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_text(self._path(workload), json.dumps(made, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise InputError(
                f"schedules cannot be kept ({error.strerror})", str(self._folder), "set XDG_CACHE_HOME"
            ) from None

    def _path(self, workload: str) -> Path:
        digest = hashlib.sha256(json.dumps([workload, *self._common]).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"


def _checked(read: Any, workload: str) -> Schedule:
    if not isinstance(read, dict) or read.get("workload") != workload:
        raise ValueError("of another workload")
    schedule = read.get("schedule")
    if not isinstance(schedule, dict) or not all(type(n) is int and n > 0 for n in schedule.values()):
        raise ValueError("a number is missing")
    return schedule


def cache_folder() -> Path:
    """Return where schedules are kept: below $XDG_CACHE_HOME where that is an absolute path, else below ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "stepdown" / "native"


@cache
def this_processor() -> str:
    """Return what distinguishes this computer's processor: its name and features where the system tells them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "uarch", "isa")
    told = sorted({line for line in lines if line.startswith(wanted)})
    return "\n".join(told) or f"{platform.machine()} {platform.processor()}"


@cache
def _version() -> str:
    """Return a name of the sources of which code is made."""
    files = [path for name in _SOURCES for path in sorted([_FOLDER / name, *(_FOLDER / name).glob("*.py")])]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()
