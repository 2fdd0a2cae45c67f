"""Gives every float tensor of a TOP program the range that a calibration table has for it.

The table is text: lines that begin with `#` are comments, every other one is `name threshold min max`. A name may hold
spaces; one that the line could not give back (it begins with `#` or `"`, or holds other white space) is a JSON string.
`threshold` serves symmetric quantisation, `min` and `max` asymmetric; numbers are float32 in any decimal or exponent
form.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xdsl.ir import SSAValue
from xdsl.rewriter import Rewriter

from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, State
from stepdown.dialects.quant import Range
from stepdown.dialects.types import is_none, shape_of, storage_of, tensor
from stepdown.errors import InputError
from stepdown.files.npz import closest
from stepdown.transforms.base import Pass

_NAMED_AT_MOST = 5
_CALIBRATABLE = (State.TOP_F32, State.TOP_CALIBRATED)


@dataclass(frozen=True)
class Row:
    """The ranges of one tensor, float32 values in real units."""

    threshold: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class ImportCalibrationTable(Pass):
    """Give every float tensor the range that a calibration table has for it."""

    file: str = ""
    asymmetric: bool = False
    required = ("file",)

    def run(self, program: Program) -> None:
        """Set the types of all float results of `program`; it becomes TOP_CALIBRATED.

        Raises:
            InputError: the program is not in float TOP, or the table is malformed or lacks some of its tensors.
        """
        if program["state"] not in _CALIBRATABLE:
            raise InputError(
                f"--{self.pass_name()} needs a module in state {' or '.join(_CALIBRATABLE)}, "
                f"this one is {program['state'] or 'in none'}",
                program.path,
                "give the .mlir file that model_transform.py wrote",
            )
        table = read_table(self.file)
        values = list(float_values(program))
        _refuse_missing([value_name(v) for v in values], table, self.file)
        for value in values:
            observed = self._range(table[value_name(value)])
            Rewriter.replace_value_with_new_type(value, tensor(shape_of(value), observed))
        program.main.update_function_type()  # type: ignore[no-untyped-call]
        program["state"] = State.TOP_CALIBRATED

    def _range(self, row: Row) -> Range:
        if self.asymmetric:
            return Range(row.minimum, row.maximum)
        return Range(-row.threshold if row.minimum < 0 else 0.0, row.threshold)


def float_values(program: Program) -> Iterator[SSAValue]:
    """Yield the float32 tensors that `program` computes, its inputs with them, its weights not."""
    for op in program.ops:
        if not op.name.endswith(".Weight"):
            yield from (v for v in op.results if not is_none(v) and storage_of(v) == "f32")


def read_table(path: str | os.PathLike[str]) -> dict[str, Row]:
    """Read a calibration table, by tensor name.

    Raises:
        InputError: the file is missing or not text, or a line is malformed or names a tensor again; says which line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the calibration table ({error})", str(path)) from None
    table: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            name, row = _parse(line, f"{path}:{number}")
            if name in table:
                raise InputError(f"tensor '{name}' has a line already", f"{path}:{number}", "keep one of them")
            table[name] = row
    return table


def _parse(line: str, where: str) -> tuple[str, Row]:
    words = line.strip().rsplit(None, 3)
    try:
        if len(words) != 4:
            raise ValueError
        name = json.loads(words[0]) if words[0].startswith('"') else words[0]
        threshold, low, high = map(_float32, words[1:])
    except ValueError:
        raise InputError(f"'{line.strip()[:80]}' is malformed", where, "want: name threshold min max") from None
    if not (all(map(math.isfinite, (threshold, low, high))) and threshold >= 0 and low <= high):
        raise InputError(
            f"tensor '{name}' has no usable range", where, "want finite numbers, threshold at least 0, min up to max"
        )
    return name, Row(threshold, low, high)


def _float32(text: str) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(float(text)))


def _refuse_missing(names: list[str], table: Mapping[str, Row], path: str) -> None:
    missing = [name for name in names if name not in table]
    if not missing:
        return
    named = ", ".join(f"'{name}' ({closest(name, list(table))})" for name in missing[:_NAMED_AT_MOST])
    more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
    raise InputError(
        f"has no line for {len(missing)} of {len(names)} tensors: {named}{more}",
        path,
        "calibrate this very model with run_calibration.py",
    )
