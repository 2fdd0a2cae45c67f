"""Passes ruff (which also asks for the docstrings) and mypy, and keeps the sizes that keep code readable."""

import ast
import re
import statistics
from pathlib import Path

import pytest
from checkout import BIN, ROOT, modules, run, tools

COMMANDS = ["ruff check --output-format concise", "ruff format --check --output-format concise", "mypy"]


@pytest.mark.parametrize("command", COMMANDS, ids=["check", "format", "types"])
def test_style_and_types(command: str) -> None:
    program, *arguments = command.split()
    ended = run(BIN / program, *arguments, cwd=ROOT, timeout_s=600)
    if ended.returncode:
        pytest.fail(f"{command}\n{ended.stdout}{ended.stderr}", pytrace=False)


def function_lengths(path: Path) -> list[tuple[int, str]]:
    """Return length in lines, without docstring, and place of every function of a file."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return [(_length(node), f"{path}:{node.lineno} {node.name}") for node in functions]


def _length(function: ast.FunctionDef) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and len(function.body) > 1:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def _ninth_tenth(values: list[int]) -> float:
    return statistics.quantiles(values, n=10, method="inclusive")[-1]


def test_functions_are_short() -> None:
    found = sorted((entry for path in modules() for entry in function_lengths(path)), reverse=True)
    lengths = [length for length, _ in found]
    longest = "\n".join(f"{length} lines: {place}" for length, place in found[:20])
    assert statistics.median(lengths) <= 8, longest
    assert _ninth_tenth(lengths) <= 25, longest


def test_files_are_short() -> None:
    lengths = sorted(((len(path.read_text().splitlines()), str(path)) for path in modules()), reverse=True)
    longest = "\n".join(f"{length} lines: {path}" for length, path in lengths[:20])
    assert _ninth_tenth([length for length, _ in lengths]) <= 300, longest


UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def test_nothing_is_left_to_do() -> None:
    folders = ("lib", "tools", "regression", "docs", "requirements")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sh", ".md", ".toml")
    ]
    notes = [
        f"{path}:{number}: {line.strip()}"
        for path in {*files, *tools(), *ROOT.glob("*.*")}
        if path.is_file()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not notes, "\n".join(notes)
