"""A time line as Chrome trace JSON, which Perfetto and chrome://tracing open.

Every command is a slice with `dur` and `args.op_name`, so that scripts for onnxruntime's profiles read them. What it
spends its time on are slices within its own, end to end, without `op_name`: a sum over ops counts nothing twice.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from stepdown.files.atomic import write_text
from stepdown.model.schema import HOST
from stepdown.npu.isa import ENGINES
from stepdown.perf.account import TRANSFERS, Account, Work
from stepdown.perf.elapsed import elapsed

PROCESS = 1
KERNEL = "_kernel_time"
THREADS = {engine: number for number, engine in enumerate((*ENGINES, HOST), start=1)}
_NS_DIGITS = 3

TraceEvent = dict[str, Any]


def write_trace(path: str | os.PathLike[str], account: Account) -> None:
    """Write the trace: one JSON array, an event a line."""
    lines = (json.dumps(event, ensure_ascii=False) for event in trace_events(account))
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def trace_events(account: Account) -> Iterator[TraceEvent]:
    """Yield the events: names of the process and its threads, then each command with its parts.

    `ts` and `dur` are microseconds, to the nanosecond; `args` has the cycles, of which the elapsed ones of all commands
    add up to those of the network.
    """
    yield _metadata("process_name", {"name": account.title})
    for number, engine in enumerate(account.engines):
        yield _metadata("thread_name", {"name": engine}, THREADS[engine])
        yield _metadata("thread_sort_index", {"sort_index": number}, THREADS[engine])
    for work, cycles in zip(account.works, elapsed(account.works), strict=True):
        args = _args(account, work, sum(cycles.values()))
        yield _slice(account, work, work.start, work.end, _label(work), "Node", args)
        yield from _parts(account, work)


def _metadata(name: str, args: dict[str, Any], thread: int = 0) -> TraceEvent:
    return {"ph": "M", "cat": "__metadata", "name": name, "pid": PROCESS, "tid": thread, "ts": 0, "args": args}


def _parts(account: Account, work: Work) -> Iterator[TraceEvent]:
    start = work.start
    for part, cycles in work.parts.items():
        if cycles and len(work.parts) > 1:
            yield _slice(account, work, start, start + cycles, part, "Part", {"part": part, "cycles": cycles})
        start += cycles


def _slice(
    account: Account, work: Work, start: int, end: int, name: str, category: str, args: dict[str, Any]
) -> TraceEvent:  # fmt: skip
    begin, stop = (round(cycle * 1e6 / account.chip.clock_hz, _NS_DIGITS) for cycle in (start, end))
    return {
        "ph": "X", "cat": category, "name": name, "pid": PROCESS, "tid": THREADS[work.engine],
        "ts": begin, "dur": round(stop - begin, _NS_DIGITS), "args": args,
    }  # fmt: skip


def _label(work: Work) -> str:
    """Return what a slice is called: the tensor, with `load` or `store` for what goes to or from local memory.

    It ends as the names of onnxruntime's kernels do: scripts for its profiles look for that.
    """
    name = work.name if work.engine not in TRANSFERS else f"{work.name} {direction(work)}"
    return f"{name}{KERNEL}"


def direction(work: Work) -> str:
    """Return `load` into local memory, `store` out of it, or the instruction where neither is what it does."""
    sources, targets = ({text.split()[-1] for text in side.values()} for side in (work.reads, work.writes))
    if "local" in targets:
        return "load" if "global" in sources else work.what
    return "store" if sources == {"local"} else work.what


def _args(account: Account, work: Work, elapsed_cycles: int) -> dict[str, Any]:
    args: dict[str, Any] = {
        "op_name": work.op,
        "tensor": work.name,
        "provider": account.chip.engine if work.engine == ENGINES[0] else work.engine,
        "instruction": work.what,
        "cycles": work.cycles,
        "elapsed_cycles": elapsed_cycles,
        "start_cycle": work.start,
        "parts": {part: cycles for part, cycles in work.parts.items() if cycles},
        "reads": work.reads,
        "writes": work.writes,
        "bytes": work.bytes,
        "macs": work.macs,
    }
    if work.utilisation is not None:
        args["utilisation"] = round(work.utilisation, 6)
    args |= {"idle_cycles_before": work.idle, "waits_for": work.wait}
    return args | ({"command": work.index, "step": work.step} if work.step >= 0 else {"command": work.index})
