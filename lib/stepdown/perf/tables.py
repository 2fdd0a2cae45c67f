"""The sums of a network as lines of text, as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stepdown.npu.isa import COMPUTE
from stepdown.perf.totals import EngineFigures, Figures, Totals

Cell = str | int | float | None
_LONGEST_NAME = 40
_FIGURES = {"cycles": ",", "%": ".2f", "ms": ".4f", "MACs": ",", "use %": ".2f", "bytes": ",", "bound by": ""}
CSV_COLUMNS = (
    "name", "op", "ops", "commands", "cycles", "percent", "ms", "compute_cycles", "dma_cycles", "host_cycles",
    "wait_cycles", "busy_compute", "busy_dma", "macs", "utilisation", "bytes", "bound",
)  # fmt: skip


def table(columns: Mapping[str, str], rows: Iterable[Sequence[Cell]], indent: str = "  ") -> Iterator[str]:
    """Yield aligned lines: `columns` has by heading the format of its cells; texts (`""`) are to the left.

    None is a dash.
    """
    texts = [[_cell(cell, how) for cell, how in zip(row, columns.values(), strict=True)] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for line in [list(columns), *texts]:
        sized = zip(line, widths, columns.values(), strict=True)
        cells = (cell.rjust(width) if how else cell.ljust(width) for cell, width, how in sized)
        yield (indent + "  ".join(cells)).rstrip()


def _cell(cell: Cell, how: str) -> str:
    return "-" if cell is None else format(cell, how)


def shortened(name: str, length: int = _LONGEST_NAME) -> str:
    """Return a name, its middle left out where it is long."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half:]}"


def text_lines(totals: Totals) -> Iterator[str]:
    """Yield the tables that --perf prints: by op, by type, by engine."""
    account = totals.account
    yield account.title
    yield f"{len(totals.ops)} ops, in the order of the network:"
    ops = [(shortened(each.name), each.op, *_figures(totals, each)) for each in totals.ops]
    yield from table({"op": "", "type": "", **_FIGURES}, ops)
    yield f"{len(totals.types)} types of ops:"
    types = [(each.op, each.ops, *_figures(totals, each)) for each in [*totals.types, totals.all]]
    yield from table({"type": "", "ops": ",", **_FIGURES}, types)
    yield "engines:"
    columns = {"engine": "", "commands": ",", "busy": ",", "busy %": ".2f", "of it waiting": ",", "idle": ","}
    yield from table(columns, [_engine(totals, each) for each in totals.engines])
    yield from _parts(totals.engines)
    shared = 100 * totals.overlap / totals.transfers if totals.transfers else 0.0
    yield f"overlap: {totals.overlap:,} cycles, {shared:.1f} % of the transfers' time, while something computes"
    yield (
        f"predicted: {account.cycles:,} cycles, {account.ms(account.cycles):.4g} ms "
        f"at {account.chip.clock_hz / 1e6:g} MHz"
    )


def _share(totals: Totals, cycles: int) -> float:
    return 100 * cycles / totals.account.cycles if totals.account.cycles else 0.0


def _figures(totals: Totals, each: Figures) -> tuple[Cell, ...]:
    used = None if each.utilisation is None else 100 * each.utilisation
    ms = totals.account.ms(each.cycles)
    return each.cycles, _share(totals, each.cycles), ms, each.macs or None, used, each.bytes, each.bound


def _engine(totals: Totals, each: EngineFigures) -> tuple[Cell, ...]:
    return each.engine, each.commands, each.busy, _share(totals, each.busy), each.waits, each.idle


def _parts(engines: Sequence[EngineFigures]) -> Iterator[str]:
    yield "busy cycles by part:"
    for each in engines:
        if each.parts:
            parts = sorted(each.parts.items(), key=lambda item: -item[1])
            yield f"  {each.engine}: " + ", ".join(f"{part} {cycles:,}" for part, cycles in parts if cycles)


def csv_text(totals: Totals) -> str:
    """Return a line an op under a heading."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(totals, each) for each in totals.ops)
    return text.getvalue()


def record(totals: Totals, each: Figures) -> dict[str, Any]:
    """Return an op's or a type's figures as the fields of CSV and JSON."""
    return {
        "name": each.name,
        "op": each.op,
        "ops": each.ops,
        "commands": each.commands,
        "cycles": each.cycles,
        "percent": round(_share(totals, each.cycles), 4),
        "ms": round(totals.account.ms(each.cycles), 6),
        **{f"{kind}_cycles": cycles for kind, cycles in each.elapsed.items()},
        "busy_compute": each.busy.get(COMPUTE, 0),
        "busy_dma": each.transfers,
        "macs": each.macs,
        "utilisation": None if each.utilisation is None else round(each.utilisation, 6),
        "bytes": each.bytes,
        "bound": each.bound,
    }


def json_text(totals: Totals) -> str:
    """Return all sums as JSON."""
    account = totals.account
    everything = {
        "model": account.path.rsplit("/", 1)[-1],
        "network": account.network.name,
        "mode": account.network.mode,
        "chip": account.chip.name,
        "clock_hz": account.chip.clock_hz,
        "cycles": account.cycles,
        "ms": round(account.ms(account.cycles), 6),
        "overlap_cycles": totals.overlap,
        "transfer_cycles": totals.transfers,
        "memory_bytes": account.stage.memory_bytes,
        "engines": [vars(each) for each in totals.engines],
        "types": [record(totals, each) for each in totals.types],
        "ops": [record(totals, each) for each in totals.ops],
    }
    return json.dumps(everything, indent=1, ensure_ascii=False) + "\n"
