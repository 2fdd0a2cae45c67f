"""A comparison as JSON, as CSV and as an HTML report."""

import csv
import io
import json
import math
from typing import Any

from stepdown.compare.judge import Level
from stepdown.compare.plot import Plot
from stepdown.compare.report import Cell, Report, Table, render
from stepdown.compare.tensors import Comparison, TensorResult

_SIMILARITIES = ("cosine", "euclid", "sqnr_db", "close_order", "max_difference")
_COLUMNS = (
    "name", "level", "passed", *_SIMILARITIES, "shape", "dtype", "reference_dtype", "against", "note",
)  # fmt: skip


def to_json(found: Comparison) -> str:
    """Return all results as JSON; infinities, which JSON lacks, are the strings "inf" and "-inf", NaN is null."""
    pairing = found.pairing
    everything = {
        "target": found.target,
        "reference": found.reference,
        "tolerance": {"cosine": found.tolerance.cosine, "euclid": found.tolerance.euclid},
        "passed": found.passed,
        "compared": found.compared,
        "counts": {level.lower(): found.counts()[level] for level in Level},
        "min_similarity": dict(zip(("cosine", "euclid", "sqnr_db"), found.min_similarity(), strict=True)),
        "tensors": [record(result) for result in found.results],
        "internal": pairing.internal,
        "fused": pairing.fused,
        "views": pairing.views,
        "not_dumped": pairing.not_dumped,
        "excepted": pairing.excepted,
        "not_asked": pairing.not_asked,
        "warnings": pairing.warnings,
    }
    return json.dumps(_finite(everything), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(found: Comparison) -> str:
    """Return a line a tensor under a heading."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record(result), "shape": _shape(result)} for result in found.results)
    return text.getvalue()


def to_html(found: Comparison) -> str:
    """Return the HTML report: the counts, the similarities along the network, a row a tensor."""
    return render(_report(found))


def record(result: TensorResult) -> dict[str, Any]:
    """Return a result as the fields of JSON and CSV."""
    similarities = {key: getattr(result.similarity, key, None) for key in _SIMILARITIES}
    return {
        "name": result.name,
        "level": str(result.level),
        "passed": result.passed,
        **similarities,
        "shape": list(result.shape),
        "dtype": result.dtype,
        "reference_dtype": result.reference_dtype,
        "against": result.pair.reference,
        "note": result.verdict.note,
    }


def _report(found: Comparison) -> Report:
    failed = [i for i, result in enumerate(found.results) if not result.passed]
    columns = ("tensor", "order", "level", "cosine", "euclid", "SQNR [dB]", "max |difference|", "shape", "type", "note")
    rows = [_row(order, result) for order, result in enumerate(found.results)]
    table = Table("Tensors, in the order of TARGET", columns, rows, failed)
    return Report("Tensor comparison", found.passed, _figures(found), _facts(found), (*_plots(found, failed), table))


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _shape(result: TensorResult) -> str:
    return "x".join(map(str, result.shape))


def _row(order: int, result: TensorResult) -> tuple[Cell, ...]:
    s = result.similarity
    numbers = (s.cosine, s.euclid, s.sqnr_db, s.max_difference) if s else (None,) * 4
    types = result.dtype if result.dtype == result.reference_dtype else f"{result.dtype} / {result.reference_dtype}"
    against = result.pair.reference
    notes = [f"against {against}"] if against and against != result.name else []
    notes += [result.verdict.note] if result.verdict.note else []
    return (result.name, order, str(result.level), *numbers, _shape(result), types, "; ".join(notes))


def _figures(found: Comparison) -> dict[str, Cell]:
    counts = found.counts()
    cosine, euclid, sqnr_db = found.min_similarity()
    return {
        "compared": found.compared,
        "failed": sum(not result.passed for result in found.results),
        "equal": counts[Level.EQUAL],
        "close": counts[Level.CLOSE],
        "similar": counts[Level.SIMILAR],
        "min cosine": cosine,
        "min euclid": euclid,
        "min SQNR [dB]": sqnr_db,
    }


def _facts(found: Comparison) -> dict[str, Cell]:
    pairing = found.pairing
    facts: dict[str, Cell] = {
        "Target": found.target,
        "Reference": found.reference,
        "Tolerance": f"cosine {found.tolerance.cosine:g}, euclid {found.tolerance.euclid:g}",
        "Internal": ", ".join(pairing.internal),
        "Fused": ", ".join(f"{name} into {into}" for name, into in pairing.fused.items()),
        "Other types": ", ".join(pairing.views),
        "Not dumped": ", ".join(pairing.not_dumped),
        "Left out": ", ".join(pairing.excepted + pairing.not_asked),
        "Warnings": "; ".join(pairing.warnings),
    }
    return {what: value for what, value in facts.items() if value}


def _plots(found: Comparison, failed: list[int]) -> list[Plot]:
    labels = [result.name for result in found.results]
    curves = {
        key: [getattr(result.similarity, key, None) for result in found.results]
        for key in ("cosine", "euclid", "sqnr_db")
    }
    limits = {"tolerance cosine": found.tolerance.cosine, "tolerance euclid": found.tolerance.euclid}
    shared = {"cosine": curves["cosine"], "euclid": curves["euclid"]}
    return [
        Plot("Cosine and euclid along the network", labels, shared, "", limits, failed, floor=0.0, ceiling=1.0),
        Plot("SQNR along the network", labels, {"SQNR": curves["sqnr_db"]}, "dB", {}, failed, floor=-20.0),
    ]
