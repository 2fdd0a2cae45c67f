"""The one HTML report writer: a self-contained page of figures, plots and tables that needs no network.

It is readable in light and dark; tables can be sorted and filtered, points of a plot lead to their table rows.
"""

import html
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from stepdown.compare.page import SCRIPT, STYLE
from stepdown.compare.plot import Plot, svg
from stepdown.files.atomic import write_text

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """Rows under column headings; `marked` are the indices of the rows that failed, `digits` those of floats shown."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Collection[int] = ()
    digits: int = 6


@dataclass(frozen=True)
class Report:
    """A page: `figures` are its few large numbers, `facts` the small print below, `passed` its verdict, if any."""

    title: str
    passed: bool | None = None
    figures: Mapping[str, Cell] = field(default_factory=dict)
    facts: Mapping[str, Cell] = field(default_factory=dict)
    sections: Sequence[Plot | Table] = ()


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Write the page to `path`, atomically."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the page as HTML; the same report gives the same bytes."""
    tables = [i for i, section in enumerate(report.sections) if isinstance(section, Table)]
    linked = f"t{tables[0]}" if tables else ""
    sections = [
        _table(section, f"t{i}") if isinstance(section, Table) else _plot(section, linked)
        for i, section in enumerate(report.sections)
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escape(report.title)}</title>\n<style>{STYLE}</style></head>\n<body>",
            f"<header><h1>{_escape(report.title)}</h1>{_verdict(report.passed)}</header>",
            _definitions("figures", report.figures),
            _definitions("facts", report.facts),
            *sections,
            f"<script>{SCRIPT}</script>\n</body></html>\n",
        ]
    )


def _verdict(passed: bool | None) -> str:
    if passed is None:
        return ""
    return f'<span class="verdict {"good" if passed else "bad"}">{"PASSED" if passed else "FAILED"}</span>'


def _definitions(kind: str, items: Mapping[str, Cell]) -> str:
    if not items:
        return ""
    rows = (f"<div><dt>{_escape(what)}</dt><dd>{_escape(_text(value, 6))}</dd></div>" for what, value in items.items())
    return f'<dl class="{kind}">{"".join(rows)}</dl>'


def _plot(plot: Plot, linked_table: str) -> str:
    return f"<section><h2>{_escape(plot.heading)}</h2>{svg(plot, linked_table)}</section>"


def _table(table: Table, anchor: str) -> str:
    heads = "".join(_heading(column, [row[i] for row in table.rows]) for i, column in enumerate(table.columns))
    marked = set(table.marked)
    rows = "\n".join(_row(row, f"{anchor}r{i}", i in marked, table.digits) for i, row in enumerate(table.rows))
    only_failed = '<label><input type="checkbox"> failed only</label>' if marked else ""
    return (
        f'<section class="table" id="{anchor}"><h2>{_escape(table.heading)}</h2>'
        f'<div class="tools"><input type="search" placeholder="filter" aria-label="filter rows">{only_failed}'
        f'<span class="shown">{len(table.rows)} rows</span></div>'
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table></div></section>'
    )


def _heading(column: str, cells: Sequence[Cell]) -> str:
    kind = ' class="n"' if any(_is_number(cell) for cell in cells) else ""
    return f'<th scope="col"{kind}><button>{_escape(column)}</button></th>'


def _row(row: Sequence[Cell], anchor: str, marked: bool, digits: int) -> str:
    cells = "".join(_cell(cell, digits) for cell in row)
    return f'<tr id="{anchor}"{" class=bad" if marked else ""}>{cells}</tr>'


def _cell(value: Cell, digits: int) -> str:
    text = _escape(_text(value, digits))
    if not _is_number(value):
        return f"<td{' class=n' if value is None else ''}>{text}</td>"
    exact = str(value).replace("inf", "Infinity")
    return f'<td class="n" data-v="{exact}" title="{value!r}">{text}</td>'


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Cell, digits: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if math.isfinite(value) else str(value).replace("inf", "∞")
    return str(value)


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
