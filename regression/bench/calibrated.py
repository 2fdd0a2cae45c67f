"""Calibration on one input, for what depends on there being ranges and hardly on which: tests and benches of code."""

from collections.abc import Mapping

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, State
from stepdown.dialects.types import Range, shape_of, storage_of, tensor
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.mlir import MlirRunner


def calibrate(program: Program, given: Mapping[str, np.ndarray]) -> None:
    """Give every float tensor the range that it takes on one input."""
    ranges = {}

    def see(op: TensorOp, at: int, array: np.ndarray) -> None:
        if storage_of(op.results[at]) == "f32":
            ranges[op.results[at]] = Range(float(array.min()), float(array.max()))

    Interpreter(program).run(MlirRunner(program).arguments(given), see)
    for value, found in ranges.items():
        value._type = tensor(shape_of(value), found)
    program.main.update_function_type()  # type: ignore[no-untyped-call]
    program["state"] = State.TOP_CALIBRATED
