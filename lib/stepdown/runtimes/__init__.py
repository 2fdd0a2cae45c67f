"""Running a model file of any kind: `open_runner(path)` gives the one runner protocol (see `runner.py`)."""

import os
from pathlib import Path

from stepdown.errors import InputError
from stepdown.runtimes.runner import Runner, RunnerOptions

SUFFIXES = {".onnx": "onnx", ".tflite": "tflite", ".mlir": "mlir", ".bmodel": "bmodel", ".so": "native"}


def open_runner(path: str | os.PathLike[str], options: RunnerOptions | None = None) -> Runner:
    """Open a model file.

    Raises:
        InputError: no such file, an unknown kind of file, or a file that is not what its name says.
    """
    kind = SUFFIXES.get(Path(path).suffix)
    if kind is None:
        raise InputError("not a model we can run", str(path), f"give a file ending in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
        raise InputError("is a directory" if Path(path).is_dir() else "no such file", str(path))
    if kind == "onnx":
        from stepdown.runtimes.onnx import OnnxRunner

        return OnnxRunner(path, options or RunnerOptions())
    if kind == "tflite":
        from stepdown.runtimes.tflite import TfliteRunner

        return TfliteRunner(path, options or RunnerOptions())
    if kind == "bmodel":
        from stepdown.runtimes.bmodel import BmodelRunner

        return BmodelRunner(path, options or RunnerOptions())
    if kind == "native":
        from stepdown.runtimes.native import NativeRunner

        return NativeRunner(path, options or RunnerOptions())
    from stepdown.runtimes.mlir import MlirRunner

    return MlirRunner(path, options or RunnerOptions())


__all__ = ["SUFFIXES", "Runner", "RunnerOptions", "open_runner"]
