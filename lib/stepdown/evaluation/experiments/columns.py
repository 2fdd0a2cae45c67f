"""The columns of the table of results, in Markdown and in HTML alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stepdown.evaluation.experiments.plan import OURS
from stepdown.evaluation.experiments.session import Result

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A heading, and what a row has under it: a text, or a number and how it is written."""

    name: str
    value: Callable[[Result], Any]
    form: str = ""

    def text(self, result: Result) -> str:
        """Return the cell of a row."""
        value = self.value(result)
        if value is None or value == "":
            return MISSING
        return format(value, self.form)

    @property
    def is_number(self) -> bool:
        """Whether its cells are numbers."""
        return bool(self.form)


def columns_of(results: Sequence[Result]) -> list[Column]:
    """Return the columns in which some row has a value."""
    return [column for column in _COLUMNS if any(column.text(r) != MISSING for r in results)]


def _of_ours(name: str) -> Callable[[Result], Any]:
    return lambda r: getattr(r.row, name) if r.row.engine == OURS else None


def _target(result: Result) -> str:
    row = result.row
    return " ".join(filter(None, (row.chip, row.processor, row.features))) if row.engine == OURS else ""


def _layout(result: Result) -> str:
    return str((result.found.get("notes") or {}).get("effort", {}).get("layout", ""))


def _found(*path: str, factor: float = 1) -> Callable[[Result], Any]:
    def value(result: Result) -> Any:
        known: Any = result.found
        for name in path:
            known = (known or {}).get(name)
        return None if known is None else known * factor

    return value


_COLUMNS = (
    Column("model", lambda r: r.row.model),
    Column("engine", lambda r: r.row.engine),
    Column("mode", lambda r: r.row.mode),
    Column("target", _target),
    Column("level", _of_ours("level")),
    Column("layout", _layout),
    Column("threads", lambda r: r.row.threads, "d"),
    Column("median, ms", _found("latency", "median_ms"), ".3f"),
    Column("least, ms", _found("latency", "least_ms"), ".3f"),
    Column("p90, ms", _found("latency", "p90_ms"), ".3f"),
    Column("samples", _found("quality", "samples", factor=1), "d"),
    Column("accuracy, %", _found("quality", "accuracy", factor=100), ".2f"),
    Column("top-5, %", _found("quality", "top5", factor=100), ".2f"),
    Column("precision", _found("quality", "precision"), ".4f"),
    Column("recall", _found("quality", "recall"), ".4f"),
    Column("G-mean", _found("quality", "g_mean"), ".4f"),
    Column("compiled in, s", _found("compile_s"), ".2f"),
    Column("file, MB", _found("artefact_bytes", factor=1e-6), ".3f"),
    Column("source, MB", _found("source_bytes", factor=1e-6), ".3f"),
    Column("reorders", lambda r: len(r.found["notes"]["reorders"]) if (r.found.get("notes") or {}) else None, "d"),
    Column("fallbacks", lambda r: len(r.found["notes"]["fallbacks"]) if (r.found.get("notes") or {}) else None, "d"),
    Column("outcome", lambda r: "" if r.is_done else r.found["status"]),
)
