"""The report of model_tool.py --info as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LONGEST = 100
_NAMES = {
    "sha256": "SHA-256",
    "macs": "MACs",
    "ir_version": "IR version",
    "weight_sha256": "weight SHA-256",
    "contents_sha256": "contents SHA-256",
}


def report_text(report: Mapping[str, Any]) -> str:
    """Return a report as people read it; nothing of it is left out but long lists and texts."""
    return "\n".join(line.rstrip() for key, value in report.items() for line in _section(key, value))


def _section(key: str, value: Any) -> Iterator[str]:
    if key in _WRITERS:
        yield from _WRITERS[key](value)
    elif isinstance(value, Mapping):
        yield from _facts(key, value)
    else:
        yield f"{_title(key)}: {fact_text(value)}"


def _title(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


def fact_text(value: Any) -> str:
    """Return a value in one line of bounded length."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {fact_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(fact_text, value))
    line = "unknown" if value is None else " ".join(str(value).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… ({len(line)} characters)"


def _facts(key: str, facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts:
        yield f"{_title(key)}: none"
        return
    yield f"{_title(key)}:"
    for name, value in facts.items():
        yield f"  {_title(name)}: {fact_text(value)}"


def _tensors(title: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{title}: {len(rows)}"
    for row in rows:
        yield f"  {row['name']} {tensor_text(row)}"


def tensor_text(row: Mapping[str, Any]) -> str:
    """Return `1x3x224x224 i8 scale 0.05 zero point 3`."""
    shape = row["shape"]
    sizes = "?" if shape is None else "x".join("?" if n is None else str(n) for n in shape) or "scalar"
    words = [sizes, row["type"]]
    if "scale" in row:
        many = isinstance(row["scale"], list)
        words.append(f"{len(row['scale'])} scales along axis {row['axis']}" if many else f"scale {row['scale']:.6g}")
        words += [] if many else [f"zero point {row['zero_point']}"]
    if "range" in row:
        words.append("range {:.6g}..{:.6g}".format(*row["range"]))
    return " ".join(words)


def _ops(counts: Mapping[str, int]) -> Iterator[str]:
    yield f"ops: {sum(counts.values())}"
    for op, count in counts.items():
        yield f"  {count:5} {op}"


def _file(path: str) -> Iterator[str]:
    yield path


def _activations(found: Mapping[str, int | None]) -> Iterator[str]:
    peak, total = (grouped(found[key]) for key in ("peak", "sum"))
    yield f"activation bytes: peak {peak}, sum {total}"


def grouped(count: int | None) -> str:
    """Return `12,345`, or `?`."""
    return "?" if count is None else f"{count:,}"


def _number(title: str, count: int | None) -> Iterator[str]:
    yield f"{title}: {grouped(count)}"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    yield from (f"  note: {note}" for note in notes)


def _op_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "op table: op, name, outputs, MACs, weight bytes, inputs, weights"
    for row in rows:
        made = "; ".join(tensor_text(value) for value in row["outputs"])
        cost = f"MACs {grouped(row['macs'])}, weights {grouped(row['weight_bytes'])}"
        weights = f" | {', '.join(row['weights'])}" if row["weights"] else ""
        yield f"  {row['op']} {row['name']}: {made}, {cost} <- {', '.join(row['inputs']) or 'nothing'}{weights}"


def _rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "rows:"
    for row in rows:
        yield f"  {fact_text(dict(row))}"


def preprocessing_lines(inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield how a photo becomes each input."""
    if not inputs:
        yield "preprocessing: none stored"
    for name, how in inputs.items():
        yield f"preprocessing of {name}:"
        for key, value in how.items():
            yield f"  {key}: {fact_text(value)}"


def _sections(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"sections: {len(rows)}"
    yield from (f"  {row['name']} {grouped(row['bytes'])} bytes" for row in rows)


def _networks(networks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    from stepdown.cli.model_tool_bmodel_text import networks_lines

    yield from networks_lines(networks)


_WRITERS: Any = {
    "file": _file,
    "bytes": lambda count: _number("bytes", count),
    "inputs": lambda rows: _tensors("inputs", rows),
    "outputs": lambda rows: _tensors("outputs", rows),
    "tensors": lambda rows: _tensors("tensors", rows),
    "ops": _ops,
    "macs": lambda count: _number("MACs", count),
    "parameters": lambda count: _number("parameters", count),
    "weight_bytes": lambda count: _number("weight bytes", count),
    "activation_bytes": _activations,
    "notes": _notes,
    "op_table": _op_table,
    "rows": _rows,
    "preprocessing": preprocessing_lines,
    "networks": _networks,
    "sections": _sections,
}
