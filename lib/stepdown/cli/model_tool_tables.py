"""model_tool.py --info for files that are no models: npz files, calibration tables, qtables."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stepdown.cli.model_tool_open import KINDS, MODEL_FILE_SUFFIX
from stepdown.errors import InputError

Report = dict[str, Any]
_TABLE_WORDS = 4


def tensors_or_table(path: str, verbose: bool) -> Report:
    """Return what is in an npz file or a table; a table is known by its name or by having no suffix.

    Raises:
        InputError: an unknown suffix, or a file that is not what its name says.
    """
    suffix = Path(path).suffix
    if suffix == ".npz":
        return npz_report(path, verbose)
    if suffix and not path.endswith("table") and suffix != ".txt":
        raise InputError(
            "not a kind of file we know",
            path,
            f"give {', '.join((*KINDS, MODEL_FILE_SUFFIX))}, .npz, a calibration table or qtable",
        )
    return table_report(path, verbose)


def npz_report(path: str, verbose: bool) -> Report:
    """Return the tensors of an npz file, from their headers: no values are read."""
    from stepdown.cli.model_tool_info import file_facts
    from stepdown.files.npz import NpzFile

    file = NpzFile(path)
    headers = {name: file.header(name) for name in file}
    metadata = file.metadata
    rows = [_tensor(name, *header, metadata) for name, header in headers.items()]
    return {
        **file_facts(path, "npz file"),
        "tensor_count": len(rows),
        "tensor_bytes": sum(row["bytes"] for row in rows),
        "types": dict(Counter(row["type"] for row in rows).most_common()),
        "metadata": _metadata(metadata),
        "tensors": rows if verbose or len(rows) <= _FEW else rows[:_FEW],
        **({} if verbose or len(rows) <= _FEW else {"notes": [f"{len(rows) - _FEW} more tensors: give --verbose"]}),
    }


_FEW = 20


def _tensor(name: str, shape: tuple[int, ...], dtype: Any, metadata: Any) -> Report:
    stored = metadata.tensors.get(name) if metadata else None
    row: Report = {"name": name, "shape": list(shape), "type": dtype.name}
    row["bytes"] = dtype.itemsize
    for size in shape:
        row["bytes"] *= size
    if stored:
        said = asdict(stored)
        row["type"] = said.pop("type")
        row |= {key: value for key, value in said.items() if value not in (None, "", (), False)}
        row.setdefault("zero_point", 0)
        row.setdefault("axis", None)
    return row


def _metadata(metadata: Any) -> Report:
    if metadata is None:
        return {}
    return {
        "model": metadata.model,
        "model_sha256": metadata.model_sha256,
        "outputs": list(metadata.outputs),
        "quantised": sum(info.scale is not None for info in metadata.tensors.values()),
        "internal": sum(info.internal for info in metadata.tensors.values()),
        "fused": sum(len(info.fused) for info in metadata.tensors.values()),
    }


def table_report(path: str, verbose: bool) -> Report:
    """Return the rows of a calibration table or a qtable, told apart by their lines."""
    lines = _lines(path)
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    notes = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    if body and len(body[0].partition("#")[0].split()) < _TABLE_WORDS:
        return _qtable_report(path, body, notes, verbose)
    if not body:
        raise InputError("holds no line of a table", path, "give a calibration table or a qtable")
    return _calibration_report(path, notes, verbose)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not a table: {error.reason}", path) from None
    if "\0" in text:
        raise InputError("not a table: it is no text", path)
    return text.split("\n")


def _calibration_report(path: str, notes: list[str], verbose: bool) -> Report:
    from stepdown.calibration.table import read_table
    from stepdown.cli.model_tool_info import file_facts

    table = read_table(path)
    widest = max(table, key=lambda name: table[name].threshold)
    report = {
        **file_facts(path, "calibration table"),
        "row_count": len(table),
        "smallest_minimum": min(row.minimum for row in table.values()),
        "largest_maximum": max(row.maximum for row in table.values()),
        "largest_threshold": f"{table[widest].threshold:.6g} of {widest}",
        "never_negative": sum(row.minimum >= 0 for row in table.values()),
        "made": {f"comment {number}": note for number, note in enumerate(notes, 1) if note},
    }
    if verbose:
        report["rows"] = [{"name": name, **asdict(row)} for name, row in table.items()]
    return report


def _qtable_report(path: str, body: list[str], notes: list[str], verbose: bool) -> Report:
    from stepdown.chips.chip import MODES
    from stepdown.cli.model_tool_info import file_facts

    rows = [words for line in body if (words := line.partition("#")[0].rsplit(None, 1))]
    wrong = [words for words in rows if len(words) != 2 or words[1] not in MODES]
    if wrong:
        raise InputError(f"'{' '.join(wrong[0])[:80]}' is no line of a table", path, f"want: op_name {'|'.join(MODES)}")
    report = {
        **file_facts(path, "qtable"),
        "row_count": len(rows),
        "modes": dict(Counter(mode for _, mode in rows).most_common()),
        "made": {f"comment {number}": note for number, note in enumerate(notes, 1) if note},
    }
    if verbose:
        report["rows"] = [{"name": name.strip(), "mode": mode} for name, mode in rows]
    return report
