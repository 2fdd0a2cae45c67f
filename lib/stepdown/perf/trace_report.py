"""Sums over the slices of a trace, by op, type, engine and part; of two traces side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stepdown.perf.tables import Cell, shortened, table
from stepdown.perf.trace_reader import Trace, parts_of

GROUPINGS = ("type", "op", "engine", "part")
_TITLES = {"type": "type{} of ops", "op": "op{}", "engine": "engine{}", "part": "part{} of commands"}


@dataclass
class Row:
    """A group of slices.

    `ms` are the milliseconds of all its slices, `elapsed_ms` its share of the time that passes, None where it is not
    told. An op has its type, else `type` is empty.
    """

    name: str
    type: str = ""
    count: int = 0
    ms: float = 0.0
    elapsed_ms: float | None = None
    macs: int = 0
    bytes: int = 0

    @property
    def time(self) -> float:
        """The time that it is judged by: the elapsed one where there is one."""
        return self.ms if self.elapsed_ms is None else self.elapsed_ms


def rows_of(trace: Trace, by: str) -> list[Row]:
    """Return the groups, those that take most time first."""
    rows: dict[tuple[str, str], Row] = {}
    passing = trace.has_elapsed and by in ("type", "op")
    for name, kind, ms, elapsed, macs, moved in _counted(trace, by):
        row = rows.setdefault((name, kind), Row(name, kind, elapsed_ms=0.0 if passing else None))
        row.count, row.ms = row.count + 1, row.ms + ms
        row.macs, row.bytes = row.macs + macs, row.bytes + moved
        if row.elapsed_ms is not None:
            row.elapsed_ms += elapsed or 0.0
    return sorted(rows.values(), key=lambda row: (-row.time, -row.ms))


def _counted(trace: Trace, by: str) -> Iterator[tuple[str, str, float, float | None, int, int]]:
    """Yield group, type, milliseconds, elapsed ones, MACs and bytes of all that is counted."""
    if by == "part":
        for part, ms in parts_of(trace):
            yield part, "", ms, None, 0, 0
        return
    for each in trace.slices:
        name = {"type": each.op, "op": each.name, "engine": each.engine}[by]
        yield name, each.op if by == "op" else "", each.ms, each.elapsed_ms, each.macs, each.bytes


def report_lines(trace: Trace, groupings: Sequence[str], top: int) -> Iterator[str]:
    """Yield the tables of one trace."""
    engines = len({each.engine for each in trace.slices})
    yield f"{_title(trace)}; {len(trace.slices)} slices on {engines} engine{'s' if engines != 1 else ''}"
    for by in groupings:
        rows = rows_of(trace, by)
        if rows:
            yield _heading(by, len(rows), top)
            yield from _table(trace, by, rows[:top])
    if not trace.has_elapsed and engines > 1:
        yield "slices of several engines overlap, so their milliseconds may add up to more than the time that passes"


def _title(trace: Trace) -> str:
    """Return what a trace calls itself, which says its time, or its file and time."""
    return trace.title or f"{trace.path}: {trace.span_ms:.4g} ms"


def _heading(by: str, count: int, top: int) -> str:
    return f"{count} {_TITLES[by].format('s' * (count != 1))}" + (
        f", the {top} that take most time:" if count > top else ":"
    )


def _table(trace: Trace, by: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table without the columns that nothing has a value in."""
    passing = rows[0].elapsed_ms is not None
    whole = trace.span_ms if by == "engine" or passing else sum(each.ms for each in trace.slices)
    cells: dict[str, tuple[str, list[Cell]]] = {by: ("", [shortened(row.name) for row in rows])}
    if by == "op":
        cells["type"] = ("", [row.type for row in rows])
    cells["slices"] = (",", [row.count for row in rows])
    if passing:
        cells["ms"] = (".4f", [row.elapsed_ms for row in rows])
    cells["%"] = (".2f", [100 * row.time / whole if whole else 0.0 for row in rows])
    cells["busy ms" if passing else "ms"] = (".4f", [row.ms for row in rows])
    if any(row.macs for row in rows):
        cells["MACs"] = (",", [row.macs or None for row in rows])
    if any(row.bytes for row in rows):
        cells["bytes"] = (",", [row.bytes or None for row in rows])
    columns = {name: how for name, (how, _) in cells.items()}
    return table(columns, list(zip(*(values for _, values in cells.values()), strict=True)))


def report_json(trace: Trace, groupings: Sequence[str]) -> dict[str, Any]:
    """Return all tables of a trace."""
    tables = {f"by_{by}": [asdict(row) for row in rows_of(trace, by)] for by in groupings}
    return {"file": trace.path, "title": trace.title, "slices": len(trace.slices), "ms": trace.span_ms, **tables}


@dataclass(frozen=True)
class Difference:
    """A group in two traces; None where one of them has no such group."""

    name: str
    type: str
    a_ms: float | None
    b_ms: float | None

    @property
    def difference_ms(self) -> float:
        """How much longer it takes in the second one."""
        return (self.b_ms or 0.0) - (self.a_ms or 0.0)

    @property
    def ratio(self) -> float | None:
        """The second one's time over the first one's; None where one of them is missing or 0."""
        return self.b_ms / self.a_ms if self.a_ms and self.b_ms else None


def differences(a: Trace, b: Trace, by: str) -> list[Difference]:
    """Return the groups of both, those that differ most first; elapsed times where both traces have them."""
    both = a.has_elapsed and b.has_elapsed
    times = [{(r.name, r.type): r.time if both else r.ms for r in rows_of(each, by)} for each in (a, b)]
    keys = dict.fromkeys([*times[0], *times[1]])
    found = [Difference(name, kind, times[0].get((name, kind)), times[1].get((name, kind))) for name, kind in keys]
    return sorted(found, key=lambda each: -abs(each.difference_ms))


def compare_lines(a: Trace, b: Trace, groupings: Sequence[str], top: int) -> Iterator[str]:
    """Yield the tables of two traces side by side."""
    for side, trace in (("A", a), ("B", b)):
        yield f"{side} = {_title(trace)}" + (f" ({trace.path})" if trace.title else "")
    columns = {"A ms": ".4f", "B ms": ".4f", "B - A": "+.4f", "B / A": ".3f"}
    for by in groupings:
        found = differences(a, b, by)
        if found:
            yield _heading(by, len(found), top).replace("take most time", "differ most")
            kind = {"type": ""} if by == "op" else {}
            yield from table({by: "", **kind, **columns}, [_cells(each, by) for each in found[:top]])
    ratio = f", {b.span_ms / a.span_ms:.3f} times" if a.span_ms else ""
    yield f"in all: {a.span_ms:.4f} ms and {b.span_ms:.4f} ms, {b.span_ms - a.span_ms:+.4f} ms{ratio}"


def _cells(each: Difference, by: str) -> tuple[Cell, ...]:
    kind = (each.type,) if by == "op" else ()
    return (shortened(each.name), *kind, each.a_ms, each.b_ms, each.difference_ms, each.ratio)


def compare_json(a: Trace, b: Trace, groupings: Sequence[str]) -> dict[str, Any]:
    """Return all tables of two traces."""
    tables = {f"by_{by}": [difference_record(each) for each in differences(a, b, by)] for by in groupings}
    return {"a": a.path, "b": b.path, "a_ms": a.span_ms, "b_ms": b.span_ms, **tables}


def difference_record(each: Difference) -> dict[str, Any]:
    """Return a difference as the fields of JSON and CSV."""
    return {**asdict(each), "difference_ms": each.difference_ms, "ratio": each.ratio}
