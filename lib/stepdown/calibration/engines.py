"""What runs a float program over one sample and shows every float32 tensor of it."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, argument_name
from stepdown.errors import UnsupportedModel
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.top_onnx import TopOnnx, onnxruntime_version

REFERENCE, ORT = "reference", "ort"


class Engine(Protocol):
    """A float program that can be run."""

    def run(self, arguments: Mapping[str, np.ndarray], on_tensor: Callable[[str, np.ndarray], None]) -> None:
        """Run once on inputs by name; tell the name and the values of tensors, which hold until the call returns."""


class ReferenceEngine:
    """The reference interpreter."""

    def __init__(self, program: Program) -> None:
        self._interpreter = Interpreter(program)
        self._inputs = {argument_name(op): op.operands[0] for op in program.input_ops}

    def run(self, arguments: Mapping[str, np.ndarray], on_tensor: Callable[[str, np.ndarray], None]) -> None:
        """Run once; every tensor is told, of whatever type."""

        def told(op: TensorOp, index: int, array: np.ndarray) -> None:
            on_tensor(op.names[index], array)

        self._interpreter.run({self._inputs[name]: array for name, array in arguments.items()}, told)


def choose_engine(program: Program, wanted: str = "") -> tuple[str, Engine]:
    """Return the engine `wanted` and its name; where none is, onnxruntime if it can run the program.

    Raises:
        UnsupportedModel: onnxruntime is wanted and cannot run it.
    """
    if wanted == REFERENCE:
        return REFERENCE, ReferenceEngine(program)
    try:
        return ORT, TopOnnx(program)
    except UnsupportedModel:
        if wanted:
            raise
        return REFERENCE, ReferenceEngine(program)


def engine_text(name: str) -> str:
    """Return what decides the last digits of an engine's results."""
    return f"onnxruntime {onnxruntime_version()}" if name == ORT else f"reference, numpy {np.__version__}"
