"""docs/supported_ops.md: what we import from each format, from the rule registries and the ONNX node cases."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

from formats.onnx.node_cases import Ending

from stepdown.dialects.top import TOP_OPS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "supported_ops.md"
COMMAND = "python regression/bench/conformance.py"
FORMATS = {"TFLite": "stepdown.formats.tflite", "Caffe": "stepdown.formats.caffe"}
MOST_OPS = 8
OUTSIDE = "bfloat16|float8|float4|u?int4|u?int2|string"
"""Families of element types that we do not store."""
INTRODUCTION = f"""# Supported operators

Written by `{COMMAND}`; the tests compare it with the rules, and with every case.

An operator that is not listed here, or that has no TOP op beside it, is refused by its name. A TOP op that stands in a
row may be folded into a constant, where all that it reads is constant.
"""
ONNX_INTRODUCTION = """## ONNX

{total} node cases of onnx {version} are imported and run by the reference interpreter:
{counts}.
A case that writes an operator out as others counts for that operator. Operands that a rule needs constant are made so.
Where the expected values contradict the text of the standard, they are compared with those of onnxruntime.

| operator | passed | refused | cases | becomes | refused because |
|---|---|---|---|---|---|
"""
REGISTRY_HEAD = "| operator | becomes | refused because |\n|---|---|---|\n"


def document(endings: Mapping[str, Sequence[Ending]], version: str) -> str:
    """Return the whole text, from the endings of the ONNX cases by operator."""
    counts = Counter(ending.kind for each in endings.values() for ending in each)
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    onnx = ONNX_INTRODUCTION.format(total=f"{counts.total():,}", version=version, counts=said)
    rows = "\n".join(onnx_row(op, endings[op]) for op in sorted(endings, key=str.lower))
    return "\n".join([INTRODUCTION, onnx + rows + "\n", *(section(name) for name in FORMATS)])


def onnx_row(op: str, endings: Sequence[Ending]) -> str:
    """Return the row of an ONNX operator."""
    from stepdown.formats.onnx.rules import REASONS, RULES

    counts = Counter("refused" if ending.kind == "refused" else "passed" for ending in endings)
    ops = sorted(set().union(*(ending.ops for ending in endings)))
    becomes = listed(ops) or ("a constant, or its operand" if counts["passed"] else "")
    if not endings and op in RULES:
        becomes = listed(ops_of(RULES[op]))
    reasons = {REASONS[op]} if op in REASONS and op not in RULES else _reasons(endings)
    cells = (op, counts["passed"], counts["refused"], len(endings), becomes, "; ".join(sorted(reasons)))
    return f"| {' | '.join(map(str, cells))} |"


def _reasons(endings: Sequence[Ending]) -> set[str]:
    """Return why cases were refused, types of elements together."""
    said = [ending.reason for ending in endings if ending.kind == "refused"]
    types = {kind for reason in said for kind in re.findall(f"elements of type ({OUTSIDE})", reason.lower())}
    others = {_general(reason) for reason in said if "elements of type" not in reason}
    return others | ({f"elements of type {', '.join(sorted(types))}"} if types else set())


def _general(reason: str) -> str:
    """Return a reason without the names and counts of one model."""
    return re.sub(r"^(unsupported operators|\w+): |input '[^']*' | ×\d+|", "", reason).replace("|", "\\|")


def section(name: str) -> str:
    """Return the section of a format that has a registry of rules, '' where it has none."""
    rules, reasons = registry(FORMATS[name])
    rows = [f"| {op} | {listed(ops_of(rules[op]))} | |" for op in sorted(rules, key=str.lower)]
    rows += [f"| {op} | | {reasons[op]} |" for op in sorted(set(reasons) - set(rules), key=str.lower)]
    return f"## {name}\n\n{len(rules)} operators are imported.\n\n{REGISTRY_HEAD}" + "\n".join(rows) + "\n"


def registry(package: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return RULES and REASONS of a format; its `*_rules` modules fill them."""
    folder = Path(str(import_module(package).__file__)).parent
    for path in sorted(folder.glob("*_rules.py")):
        import_module(f"{package}.{path.stem}")
    rules = import_module(f"{package}.rules")
    return rules.RULES, getattr(rules, "REASONS", {})


def listed(ops: Sequence[str]) -> str:
    """Return names, the first ones where there are many."""
    rest = len(ops) - MOST_OPS
    return ", ".join(ops[:MOST_OPS]) + (f" and {rest} more" if rest > 0 else "")


def ops_of(rule: Any) -> list[str]:
    """Return the TOP ops that a rule names, in its code or in what it was made with."""
    made_with = [cell.cell_contents for cell in rule.__closure__ or ()]
    named = {value.__name__ for value in made_with if isinstance(value, type)}
    named.update(name for name in _names(rule.__code__))
    tables = [rule.__globals__.get(name) for name in _names(rule.__code__)]
    named.update(value.__name__ for table in tables if isinstance(table, dict) for value in _types(table.values()))
    helpers = [rule.__globals__.get(name) for name in _names(rule.__code__) if name.startswith("_")]
    inner = [name for helper in helpers if hasattr(helper, "__code__") for name in _names(helper.__code__)]
    return sorted({*named, *inner} & set(TOP_OPS))


def _types(values: Iterable[Any]) -> Iterator[type]:
    for value in values:
        yield from (part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, type))


def _names(code: CodeType) -> Iterator[str]:
    """Return all names that code, and code inside it, reads."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
