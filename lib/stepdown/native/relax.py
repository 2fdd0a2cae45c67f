"""TVM's own default pipeline, of its graph language Relax, as one more engine to compare with.

It has no schedules for CPUs: every op is the plain loops of its definition. Nothing else here uses it.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepdown.errors import InputError, UnsupportedModel
from stepdown.native.tir import tirx


class RelaxModel:
    """An ONNX model compiled by TVM's default pipeline: one thread, inputs and outputs as arrays.

    Raises:
        UnsupportedModel: TVM is not there, or has no code for an op.
    """

    def __init__(self, model: Any, path: str | os.PathLike[str], processor: str) -> None:
        tirx()  # names what to install where there is no TVM
        import tvm
        from tvm.relax.frontend.onnx import from_onnx

        self._path, self._tvm = str(path), tvm
        try:
            module = from_onnx(model, keep_params_in_input=False)
            target = tvm.target.Target({"kind": "llvm", "mcpu": processor})
            self._compiled = tvm.compile(module, target)
        except Exception as error:  # whatever its importer raises
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise UnsupportedModel(f"TVM's Relax cannot compile it ({lines[-1][:200]})", self._path) from None
        self._main = tvm.relax.VirtualMachine(self._compiled, tvm.cpu())["main"]
        self._given: list[Any] = []

    def run(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run once on arrays in the order of the inputs; return the first output."""
        self._given = [self._tvm.runtime.tensor(np.ascontiguousarray(array)) for array in arrays.values()]
        made = self.again()
        first = made if hasattr(made, "numpy") else made[0]
        result: np.ndarray = first.numpy()
        return result

    def again(self) -> Any:
        """Run once more on the last inputs."""
        if not self._given:
            raise InputError("has no inputs yet", self._path)
        return self._main(*self._given)

    def write_library(self, path: str | os.PathLike[str]) -> None:
        """Write the compiled model as a shared library, which needs TVM's runtime."""
        self._compiled.export_library(str(path))


def host_processor() -> str:
    """Return what LLVM calls this computer's processor."""
    tirx()
    from tvm.target import codegen

    return str(codegen.llvm_get_system_cpu())
