"""Many ops in one program, each with operands of its own, so that all their code is compiled at a time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from native.compiled import compiled
from targets import lowering

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import storage_of_dtype, tensor
from stepdown.native.machine import Machine
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import Tensors

UNITS = {"F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}
"""What rounding to nearest changes a number of each mode by at most."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """An op on random operands of some shapes, or on given arrays (None: absent); `held` of them are constants."""

    op: str
    operands: tuple[Shape | np.ndarray | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    held: tuple[int, ...] = ()
    low: float = -2.0
    high: float = 2.0

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray | None]:
        """Return the operands."""
        return [
            rng.uniform(self.low, self.high, o).astype(np.float32) if isinstance(o, tuple) else o for o in self.operands
        ]


def program_of_cases(cases: list[Case], mode: str) -> tuple[Program, Tensors]:
    """Return the lowered program of all cases, whose results are named after their number, and its inputs."""
    rng = np.random.default_rng(5)
    drawn = [case.arrays(rng) for case in cases]
    given = {
        f"in{n}_{i}": array
        for n, (case, arrays) in enumerate(zip(cases, drawn, strict=True))
        for i, array in enumerate(arrays)
        if array is not None and i not in case.held
    }
    types = {name: tensor(a.shape, storage_of_dtype(a.dtype)) for name, a in given.items()}
    program = Program.empty("cases", types, "TEST")
    values = {name: program.add(Input.build(name, [a])) for name, a in zip(types, program.block.args, strict=True)}
    results = []
    for n, (case, arrays) in enumerate(zip(cases, drawn, strict=True)):
        results += _added(program, case, arrays, values, n).results
    program.finish(results)
    lowering(mode, "x86_64").run(program)
    return program, given


def _added(program: Program, case: Case, arrays: list[np.ndarray | None], values: dict[str, Any], n: int) -> TensorOp:
    operands = []
    for i, array in enumerate(arrays):
        if array is None:
            operands.append(program.add(TOP_OPS["Absent"].make()))
        elif i in case.held:
            program.weights[f"w{n}_{i}"] = array
            held = Weight.of(f"w{n}_{i}", tensor(array.shape, storage_of_dtype(array.dtype)))
            operands.append(program.add(held))
        else:
            operands.append(values[f"in{n}_{i}"])
    draft = TOP_OPS[case.op].build([f"{case.op}{n}_{i}" for i in range(8)], operands, **case.attributes)
    names = [f"{case.op}{n}_{i}" for i in range(len(draft.results))]
    draft.drop_all_references()
    op = TOP_OPS[case.op].build(names, operands, **case.attributes)
    program.block.add_op(op)
    return op


def check_cases(cases: list[Case], mode: str, machine: Machine, folder: Path, units: float = 8.0) -> None:
    """Check compiled code against the reference: integers alike, reals within their rounding and `units` of f32."""
    program, given = program_of_cases(cases, mode)
    runner = compiled(program, machine, folder, debug=False)
    try:
        got, wanted = runner.run(given), MlirRunner(program).run(given)
    finally:
        runner.close()
    assert got.keys() == wanted.keys()
    far = {name: text for name in got if (text := apart(got[name], wanted[name], mode, units))}
    assert not far, far


def apart(got: np.ndarray, wanted: np.ndarray, mode: str, units: float) -> str:
    """Return what is wrong with a result, "" for nothing."""
    if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
        return f"{got.dtype} {got.shape} for {wanted.dtype} {wanted.shape}"
    if wanted.dtype.kind != "f":
        return "" if (got == wanted).all() else f"{(got != wanted).sum()} integers differ"
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return "what is not finite differs"
    size = np.abs(wanted[finite])
    rounded = 0.0 if mode == "F32" else 2 * UNITS[mode] * size
    allowed = rounded + units * UNITS["F32"] * size.max(initial=0.0) + (2.0**-24 if mode == "F16" else 0.0)
    excess = np.abs(got[finite] - wanted[finite]) - allowed
    return "" if (excess <= 0).all() else f"{excess.max()} too far of {size.max()}"
