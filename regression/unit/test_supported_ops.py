"""docs/supported_ops.md tells what the registries of rules hold; tests of the ONNX cases check each of their rows."""

import re

import pytest
from bench import supported_ops

from stepdown.formats.onnx.importer import refuse_unsupported
from stepdown.formats.onnx.rules import REASONS, RULES

TEXT = supported_ops.DOCUMENT.read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<op>\S+) \| (?P<passed>\d+) \| (?P<refused>\d+) \| (?P<cases>\d+) \| ", re.MULTILINE)


@pytest.mark.parametrize("name", supported_ops.FORMATS)
def test_section_of_a_registry(name: str) -> None:
    assert supported_ops.section(name) in TEXT, f"run {supported_ops.COMMAND}"


def test_onnx_rows_are_those_of_the_registry() -> None:
    refuse_unsupported([])  # fills RULES
    assert [row["op"] for row in ROW.finditer(TEXT)] == sorted({*RULES, *REASONS}, key=str.lower)


def test_counts_are_the_sums_of_the_rows() -> None:
    rows = [(int(row["passed"]), int(row["refused"]), int(row["cases"])) for row in ROW.finditer(TEXT)]
    passed, refused, cases = (sum(column) for column in zip(*rows, strict=True))
    counts = {
        kind: int(n.replace(",", "")) for n, kind in re.findall(r"([\d,]+) (passed|refused|as onnxruntime)", TEXT)
    }
    assert (counts["passed"] + counts["as onnxruntime"], counts["refused"]) == (passed, refused)
    assert passed + refused == cases == 1884
    assert passed >= 1334  # what onnxruntime 1.31.1 passes


def test_ops_of_a_rule() -> None:
    refuse_unsupported([])
    assert supported_ops.ops_of(RULES["Gelu"]) == ["Gelu"]
    assert supported_ops.ops_of(RULES["STFT"]) == ["Dft", "Gather", "Mul", "Reshape"]
    assert supported_ops.ops_of(RULES["AveragePool"])[:2] == ["AveragePool", "LpPool"]
