"""Runs the rows of a plan one after the other, each in a process of its own, and keeps what is done."""

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepdown import __version__
from stepdown.errors import InputError
from stepdown.evaluation.experiments.fingerprint import dataset_print, sources_print
from stepdown.evaluation.experiments.measure import DONE, FAILED, SKIPPED, task_text
from stepdown.evaluation.experiments.plan import Plan, Row, Settings, Subject
from stepdown.evaluation.progress import clock_text
from stepdown.files.atomic import write_text
from stepdown.files.child import environment
from stepdown.files.hashes import sha256_file
from stepdown.native.schedules import this_processor

ROW_LIMIT_S = 3600.0


@dataclass(frozen=True)
class Result:
    """A row and what it gave."""

    row: Row
    found: dict[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether it gave figures."""
        return self.found["status"] == DONE


class Session:
    """Measures the rows of a plan; results are kept in a file, by what they are made of, and found there again."""

    def __init__(self, plan: Plan, file: Path, again: bool = False) -> None:
        self._plan, self._file = plan, file
        self._kept: dict[str, dict[str, Any]] = {} if again else _read(file)
        self._hashes: dict[str, str] = {}
        self._surroundings = (this_processor(), sources_print(), dataset_print(plan.settings.dataset))

    def run(self, tell: Callable[[str], None]) -> list[Result]:
        """Return the results of all rows, in order; `tell` hears a line for each that is measured."""
        results, spent = [], []
        todo = [row for row in self._plan.rows if not self._known(row)]
        for number, row in enumerate(self._plan.rows, 1):
            found = self._known(row)
            if found is None:
                start = time.monotonic()
                found = self._measured(row)
                spent.append(time.monotonic() - start)
                self._keep(row, found)
                left = sum(spent) / len(spent) * (len(todo) - len(spent))
                tell(f"[{number}/{len(self._plan.rows)}] {row.title}: {outcome(found)}  ETA {clock_text(left)}")
            results.append(Result(row, found))
        return results

    def _known(self, row: Row) -> dict[str, Any] | None:
        found = self._kept.get(self._key(row))
        return found if found is not None and found["status"] == DONE else None

    def _key(self, row: Row) -> str:
        """Return a hash of all that a result depends on: settings, files, samples, our code and this processor."""
        subject = self._plan.subjects[row.model]
        files = [p for kind in dataclasses.astuple(subject)[1:] for p in kind.split(",") if p and Path(p).is_file()]
        settings = dataclasses.astuple(self._plan.settings)
        known = (__version__, dataclasses.astuple(row), settings, self._surroundings, *map(self._hash, files))
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def _hash(self, path: str) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256_file(path)
        return self._hashes[path]

    def _measured(self, row: Row) -> dict[str, Any]:
        return in_a_process(self._plan.subjects[row.model], row, self._plan.settings)

    def _keep(self, row: Row, found: dict[str, Any]) -> None:
        self._kept[self._key(row)] = found
        kept = [{"key": k, "row": dataclasses.asdict(r), **self._kept[k]} for r, k in self._rows() if k in self._kept]
        write_text(self._file, json.dumps({"stepdown": __version__, "rows": kept}, indent=1) + "\n")

    def _rows(self) -> Iterator[tuple[Row, str]]:
        for row in self._plan.rows:
            yield row, self._key(row)


def in_a_process(subject: Subject, row: Row, settings: Settings) -> dict[str, Any]:
    """Measure a row in a process of its own; one that dies is a failure like any other."""
    with tempfile.TemporaryDirectory() as folder:
        task, result = Path(folder) / "task.json", Path(folder) / "result.json"
        task.write_text(task_text(subject, row, settings), encoding="utf-8")
        command = [sys.executable, "-m", "stepdown.evaluation.experiments.measure", str(task), str(result)]
        try:
            ended = subprocess.run(
                command, env=environment(), capture_output=True, text=True, errors="replace", timeout=ROW_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return {"status": FAILED, "message": f"took more than {ROW_LIMIT_S:.0f} s"}
        if result.is_file():
            found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return found
    return {"status": FAILED, "message": _death(ended.returncode, ended.stderr)}


def _death(code: int, told: str) -> str:
    """Return how a process ended that gave no result."""
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    lines = [line for line in told.splitlines() if line.strip()]
    return f"its process ended with {name}" + (f" ({lines[-1][:200]})" if lines else "")


def outcome(found: dict[str, Any]) -> str:
    """Return in a few words what a row gave."""
    if found["status"] != DONE:
        return f"{found['status'].upper() if found['status'] == FAILED else SKIPPED}: {found['message']}"
    times, quality = found["latency"], found.get("quality")
    accuracy = f", accuracy {100 * quality['accuracy']:.1f} %" if quality else ""
    return f"{times['median_ms']:.3g} ms{accuracy}"


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the results that a file holds, by their key; none where there is no file.

    Raises:
        InputError: it holds something else.
    """
    if not file.exists():
        return {}
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        return {row["key"]: {k: v for k, v in row.items() if k not in ("key", "row")} for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("holds no results of experiments", str(file), "give another folder, or --again") from None
