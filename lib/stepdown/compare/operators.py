"""Running a program operator by operator on the tensors of a reference: each gets the reference's operands.

So one operator's difference does not show as that of all after it, and a bound of an operator can be checked.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from stepdown.compare.tensors import Dump
from stepdown.dialects.op import TensorOp, layout_of, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import quant_of
from stepdown.runtimes.interpreter import load_weight, run_op
from stepdown.runtimes.mlir import MlirRunner, as_stored


@dataclass
class Steps:
    """By how much the integers of a kind of operators differ, in steps of the last place (LSB)."""

    operators: int = 0
    elements: int = 0
    off: Counter[int] = field(default_factory=Counter)
    """By the number of steps, how many elements are off by it."""

    @property
    def largest(self) -> int:
        """The largest difference."""
        return max(self.off, default=0)


def run_by_operator(program: Program, inputs: Mapping[str, np.ndarray], reference: Dump) -> Dump:
    """Return what every operator makes of the reference's tensors; one that it lacks is taken as it was made."""
    runner = MlirRunner(program)
    values: dict[SSAValue, np.ndarray] = dict(runner.arguments(inputs))
    made: dict[str, np.ndarray] = {}
    for op in program.ops:
        if op.name.endswith(".Weight"):
            values[op.results[0]] = load_weight(program, op)
        elif _can_run(op, values):
            results = run_op(op, [values.get(v) for v in op.operands])
            made |= {n: as_stored(a, r) for n, a, r in zip(op.names, results, op.results, strict=True)}
            values |= {r: _given(r, a, reference) for r, a in zip(op.results, results, strict=True)}
    return Dump("operator by operator", made, runner.metadata)


def _can_run(op: TensorOp, values: Mapping[SSAValue, np.ndarray]) -> bool:
    """Tell whether an op is to be run: not one whose results are given, nor an input that is given quantised."""
    if op.name.endswith(".None") or all(r in values for r in op.results):
        return False
    return not op.name.endswith(".Input") or op.operands[0] in values


def _given(value: SSAValue, made: np.ndarray, reference: Dump) -> np.ndarray:
    """Return the reference's array of a tensor where it has one of that type and shape."""
    name = value_name(value)
    found = reference.tensors[name] if name in reference.tensors and not layout_of(value) else made
    return found if (found.dtype, found.shape) == (made.dtype, made.shape) else made


def count_steps(program: Program, target: Dump, reference: Dump) -> dict[str, Steps]:
    """Return, by the kind of operator, how far its integers are off those of the reference."""
    counts: dict[str, Steps] = {}
    for op in program.ops:
        for name, value in zip(op.names, op.results, strict=False):
            if quant_of(value) and name in reference.tensors and name in target.tensors and not layout_of(value):
                _count(counts.setdefault(op.name, Steps()), target.tensors[name], reference.tensors[name])
    return counts


def _count(steps: Steps, ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return
    off = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    sizes, counts = np.unique(off[off > 0], return_counts=True)
    steps.operators, steps.elements = steps.operators + 1, steps.elements + off.size
    steps.off.update(dict(zip(sizes.tolist(), counts.tolist(), strict=True)))


def steps_text(counts: Mapping[str, Steps]) -> list[str]:
    """Return a line a kind of operator: how many elements are off by one step, and by more."""
    return [
        f"{name} ×{steps.operators}: {steps.elements} integers, {steps.off[1]} off by 1,"
        f" {steps.off.total() - steps.off[1]} by more" + (f" (at most {steps.largest})" if steps.largest > 1 else "")
        for name, steps in sorted(counts.items())
    ]
