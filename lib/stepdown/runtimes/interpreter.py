"""The reference interpreter of both dialects: executes ops from their definitions, exact and identical run to run."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.types import storage_of
from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.numerics.floats import from_bf16_bits

OnTensor = Callable[[TensorOp, int, np.ndarray], None]
"""Called with an op, the number of a result, and its array, before anything frees it."""


class Interpreter:
    """Runs a program. Weights are prepared once, in `weights`; a tensor is freed after its last use."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.weights: dict[SSAValue, np.ndarray] = {
            op.results[0]: load_weight(program, op) for op in program.ops if _is_weight(op)
        }
        self._steps = [op for op in program.ops if not _is_weight(op) and not op.name.endswith(".None")]
        self._dead_after = self._last_uses()
        self.seconds: dict[TensorOp, float] = {}
        self.overflows: dict[str, int] = {}

    def run(self, given: Mapping[SSAValue, np.ndarray], on_tensor: OnTensor | None = None) -> list[np.ndarray]:
        """Return the values of the program's results.

        `given` holds the function's arguments, or in their place the results of ops that then are not executed.
        """
        values: dict[SSAValue, Any] = {**self.weights, **given}
        self.overflows.clear()
        for step, op in enumerate(self._steps):
            if not any(v in given for v in op.results) and self._can_run(op, values):
                self._execute(op, values)
            self._report(op, values, on_tensor)
            for value in self._dead_after[step]:
                values.pop(value, None)
        return [values[v] for v in self.program.results]

    def _can_run(self, op: TensorOp, values: dict[SSAValue, Any]) -> bool:
        """Tell whether an input op has its argument: it has none where a quantised input is given instead."""
        return not op.name.endswith(".Input") or op.operands[0] in values

    def _report(self, op: TensorOp, values: dict[SSAValue, Any], on_tensor: OnTensor | None) -> None:
        for index, value in enumerate(op.results):
            if value not in values:
                continue
            if storage_of(value) == "f16" and (count := int(np.isinf(values[value]).sum())):
                self.overflows[op.names[index]] = count
            if on_tensor is not None:
                on_tensor(op, index, values[value])

    def _execute(self, op: TensorOp, values: dict[SSAValue, Any]) -> None:
        start = time.perf_counter()
        results = run_op(op, [values.get(v) for v in op.operands])
        self.seconds[op] = time.perf_counter() - start
        values.update(zip(op.results, results, strict=True))

    def _last_uses(self) -> list[list[SSAValue]]:
        """Return, step by step, the values nothing needs any more."""
        kept = {*self.weights, *self.program.results}
        seen: set[SSAValue] = set()
        dead: list[list[SSAValue]] = []
        for op in reversed(self._steps):
            last = [
                v
                for v in dict.fromkeys([*op.operands, *op.results])
                if v not in seen and v not in kept and not _absent(v)
            ]
            seen.update(last)
            dead.append(last)
        return dead[::-1]


def run_op(op: TensorOp, inputs: list[Any]) -> list[np.ndarray]:
    """Execute one op; a failure names it.

    Raises:
        StepError: the op's meaning failed on these values.
    """
    where = f'{op.name} loc("{op.tensor_name}")'
    try:
        with np.errstate(all="ignore"):
            return list(op.run(*inputs))
    except StepError as error:
        raise type(error)(error.what, error.where or where, error.fix) from error
    except NotImplementedError:
        raise UnsupportedModel("the reference interpreter cannot run this op", where) from None
    except (IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"cannot be computed on these values ({error})", where) from error


def load_weight(program: Program, op: TensorOp) -> np.ndarray:
    """Return a weight as the interpreter holds it; bfloat16 is stored as its bits.

    Raises:
        InputError: the stored weight has another shape than the text says.
    """
    stored = program.weights[op.key]  # type: ignore[attr-defined]
    declared = op.results[0].type.get_shape()  # type: ignore[attr-defined]
    if stored.shape != declared:
        raise InputError(f"weight '{op.tensor_name}' has shape {stored.shape}, the text says {declared}", program.path)
    kind = storage_of(op.results[0])
    if kind == "bf16" and stored.dtype == np.uint16:
        return from_bf16_bits(stored)
    return stored.astype(np.float32) if kind == "f16" else stored


def _is_weight(op: TensorOp) -> bool:
    return op.kind is Kind.SOURCE and op.name.endswith(".Weight")


def _absent(value: SSAValue) -> bool:
    return value.owner.name.endswith(".None") if isinstance(value.owner, TensorOp) else False
