"""Search for faster schedules on this computer: a trial is the whole network with other ones, timed call by call."""

import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stepdown.dialects.program import Program
from stepdown.errors import InputError, ResourceError
from stepdown.native.clock import call_seconds, timed_library
from stepdown.native.code import Code
from stepdown.native.kernels.base import Kernel
from stepdown.native.machine import Machine
from stepdown.native.schedules import Cache, Schedule

_ROUNDS, _LIMIT_S = 12, 120.0
WORTH = 0.97
"""What a schedule may take of the time of the one before, to be taken: less than what repeats itself differ by."""


@dataclass
class _Workload:
    """Calls of one kind: their numbers, the schedule they have, and others in the order in which they are tried."""

    taken: Schedule
    others: tuple[Schedule, ...]
    calls: list[int] = field(default_factory=list)

    def seconds(self, times: list[float]) -> float:
        return sum(times[call] for call in self.calls)


def tune(program: Program, machine: Machine, trials: int, cache: Cache) -> None:
    """Try so many schedules of each workload that the cache does not know, and keep the best of each.

    A schedule that seems to be faster is timed once more, together with all others that do, before it is kept.

    Raises:
        InputError: the code does not run on this computer.
        ResourceError: a compiler fails.
    """
    if machine.is_c or not machine.triple.startswith(platform.machine()):
        what = "C source" if machine.is_c else machine.triple
        raise InputError(f"tune=… times code on this computer, which cannot run {what}", "--codegen")
    with tempfile.TemporaryDirectory() as folder:
        _Search(program, machine, cache, Path(folder)).run(trials)


class _Search:
    def __init__(self, program: Program, machine: Machine, cache: Cache, folder: Path) -> None:
        self._program, self._machine, self._cache, self._folder = program, machine, cache, folder
        code = self._code({})
        self._calls = len(code.network.calls)
        self._base = timed_library(code, folder / "base")
        self._workloads = self._unknown(code)
        self._seen: set[str] = set()
        if self._workloads:
            self._try_base()

    def run(self, trials: int) -> None:
        """Time all trials, then once more those that are worth it, and keep what is best."""
        if not self._workloads:
            return
        best: dict[str, tuple[float, Schedule]] = {}
        for trial in range(min(trials, max(len(w.others) for w in self._workloads.values()))):
            print(f"tune: {len(self._workloads)} workloads, trial {trial + 1} of {trials}", file=sys.stderr)
            tried = {n: w.others[trial] for n, w in self._workloads.items() if trial < len(w.others)}
            for name, (before, after) in self._timed(tried, f"trial{trial}").items():
                if after < WORTH * before:
                    best[name] = min(best.get(name, (1.0, {})), (after / before, tried[name]), key=lambda b: b[0])
        self._keep({name: schedule for name, (_, schedule) in best.items()})

    def _try_base(self) -> None:
        """Run the network as it is: where that fails, all trials would."""
        try:
            call_seconds([self._base], [self._calls], 1, _LIMIT_S)
        except ResourceError as error:
            what = f"code for {self._machine.processor} does not run on this computer ({error.what})"
            raise InputError(what, "--codegen", "name this processor by processor=…, or leave tune=… away") from None

    def _code(self, schedules: Mapping[str, Schedule]) -> Code:
        """Return the network with some workloads scheduled otherwise."""
        return Code(self._program, replace(self._machine, schedules=_Over(schedules, self._cache)), "net",
                    each_apart=True)  # fmt: skip

    def _unknown(self, code: Code) -> dict[str, _Workload]:
        """Return the workloads of a network of which the cache holds nothing."""
        made: dict[str, _Workload] = {}
        for number, call in enumerate(code.network.calls):
            choice = call.kernel.choice() if isinstance(call.kernel, Kernel) else None
            if choice and choice.others and self._cache.found(choice.workload) is None:
                made.setdefault(choice.workload, _Workload(choice.taken, choice.others)).calls.append(number)
        return made

    def _timed(self, schedules: Mapping[str, Schedule], name: str) -> dict[str, tuple[float, float]]:
        """Return by workload its seconds without and with another schedule; nothing where the code fails."""
        if not schedules:
            return {}
        library = timed_library(self._code(schedules), self._folder / name)
        try:
            before, after = call_seconds([self._base, library], [self._calls] * 2, _ROUNDS, _LIMIT_S)
        except ResourceError as error:
            print(f"tune: a trial is left out: {error}", file=sys.stderr)
            return {}
        self._seen |= schedules.keys()
        return {n: (self._workloads[n].seconds(before), self._workloads[n].seconds(after)) for n in schedules}

    def _keep(self, chosen: Mapping[str, Schedule]) -> None:
        """Write the schedule of each workload that was timed: a chosen one if faster once more, else what it has."""
        again, kept = self._timed(chosen, "chosen"), 0
        for name, workload in self._workloads.items():
            if name not in (again if name in chosen else self._seen):
                continue
            before, after = again.get(name, (1.0, 1.0))
            better = after < WORTH * before
            kept += better
            seconds = {"before": before, "after": after} if name in again else {}
            self._cache.keep(name, chosen[name] if better else workload.taken, seconds)
        print(f"tune: {kept} of {len(self._workloads)} workloads have a faster schedule now", file=sys.stderr)


@dataclass(frozen=True)
class _Over:
    """Some schedules over those of a cache."""

    first: Mapping[str, Schedule]
    cache: Cache

    def get(self, workload: str, /) -> Schedule | None:
        """Return the schedule of a workload."""
        return self.first.get(workload) or self.cache.get(workload)
