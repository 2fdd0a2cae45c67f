"""Reads Chrome traces: ours, and others whose events carry `dur` and `args.op_name`, as onnxruntime's profiles."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepdown.errors import InputError

_SUFFIXES = ("_kernel_time", "_fence_before", "_fence_after")
"""What onnxruntime appends to the name of a node."""
_WANTED = "give a Chrome trace of model_runner.py --trace, or a profile of onnxruntime"
_US_A_MS = 1e3


@dataclass(frozen=True)
class Slice:
    """An event with an op: `ms` long, on a thread; `elapsed_ms` is the share of the time that passes, where told."""

    name: str
    op: str
    engine: str
    ms: float
    elapsed_ms: float | None
    macs: int
    bytes: int
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Trace:
    """The slices of a file, and the milliseconds from the first event's start to the last one's end."""

    path: str
    title: str
    slices: Sequence[Slice]
    span_ms: float

    @property
    def has_elapsed(self) -> bool:
        """Tell whether every slice says its share of the time that passes."""
        return all(each.elapsed_ms is not None for each in self.slices)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace.

    Raises:
        InputError: no such file, no JSON, or no trace whose events carry `dur` and `args.op_name`.
    """
    events = _events(str(path))
    timed = [event for event in events if _named(event)]
    if not timed:
        raise InputError("no event has both dur and args.op_name", str(path), _WANTED)
    threads = _names(events, "thread_name")
    slices = [_slice(event, threads, str(path)) for event in timed]
    begins = [_number(event, "ts", str(path)) for event in timed]
    ends = [begin + _number(event, "dur", str(path)) for begin, event in zip(begins, timed, strict=True)]
    title = next(iter(_names(events, "process_name").values()), "")
    return Trace(str(path), title, slices, (max(ends) - min(begins)) / _US_A_MS)


def _events(path: str) -> list[dict[str, Any]]:
    """Return the events of a file: a list, a list that was never closed, or the list `traceEvents` of a table."""
    file = Path(path)
    if not file.is_file():
        raise InputError("is a directory" if file.is_dir() else "no such file", path)
    try:
        content = _json(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})", path, _WANTED) from None
    events = content.get("traceEvents") if isinstance(content, dict) else content
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise InputError("holds no list of events", path, _WANTED)
    return events


def _json(text: str) -> Any:
    """Return what a text says; a program that died leaves a list without its end, which viewers accept."""
    try:
        return json.loads(text)
    except ValueError:
        open_list = text.strip().rstrip(",")
        if not open_list.startswith("[") or not open_list.endswith("}"):
            raise
        return json.loads(open_list + "]")


def _args(event: Mapping[str, Any]) -> Mapping[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def _named(event: Mapping[str, Any]) -> bool:
    return "dur" in event and _args(event).get("op_name") is not None


def _names(events: Sequence[Mapping[str, Any]], kind: str) -> dict[tuple[str, str], str]:
    """Return the names that metadata events give, by process and thread."""
    found = (event for event in events if event.get("ph") == "M" and event.get("name") == kind)
    return {_thread(event): str(_args(event).get("name", "")) for event in found}


def _thread(event: Mapping[str, Any]) -> tuple[str, str]:
    return str(event.get("pid", "")), str(event.get("tid", ""))


def _slice(event: Mapping[str, Any], threads: Mapping[tuple[str, str], str], path: str) -> Slice:
    args = _args(event)
    ms = _number(event, "dur", path) / _US_A_MS
    cycles = _optional(args, "cycles")
    parts = args.get("parts")
    counted = {str(name): value for name, value in parts.items()} if isinstance(parts, dict) else {}
    shares = {name: ms * value / cycles for name, value in counted.items() if cycles and _is_number(value)}
    elapsed = _optional(args, "elapsed_cycles")
    return Slice(
        str(args.get("tensor") or _node(str(event.get("name", "")))),
        str(args["op_name"]),
        threads.get(_thread(event)) or str(args.get("provider") or f"thread {_thread(event)[1]}"),
        ms,
        None if elapsed is None or cycles is None else ms * elapsed / cycles if cycles else 0.0,
        int(_optional(args, "macs") or 0),
        int(_optional(args, "bytes") or 0),
        shares,
    )


def _node(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _optional(args: Mapping[str, Any], name: str) -> float | None:
    return args[name] if _is_number(args.get(name)) else None


def _number(event: Mapping[str, Any], name: str, path: str) -> float:
    value = event.get(name, 0)
    if not _is_number(value):
        raise InputError(f"event '{event.get('name', '')}' has {name} {value!r:.40}, want microseconds", path)
    return float(value)


def parts_of(trace: Trace) -> Iterator[tuple[str, float]]:
    """Yield engine and part of all that slices spent their time on, with the milliseconds."""
    for each in trace.slices:
        for part, ms in each.parts.items():
            yield f"{each.engine} {part}", ms
