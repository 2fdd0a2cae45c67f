"""The networks of the bit-identity matrix: each lowered once, to one file for all processors and the NPU."""

from pathlib import Path

import numpy as np
import onnx
from checkout import REGRESSION
from npu.test_networks import QUANTISED, calibrate, inputs, mnist
from targets import lowering

from stepdown.dialects.program import Program, argument_name, read_program
from stepdown.dialects.types import DTYPES, storage_of
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import load_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import Tensors, TensorSpec
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.layout import Layout

HOST_ONLY = ("mobilenet_v2",)
"""Networks that emulators would run for too long."""


def _calibrated(program: Program, mode: str) -> Program:
    calibrate(program, inputs(program))
    lowering(mode, "bm1684x").run(program)
    return program


def _mobilenet_v2() -> Program:
    program = import_model(onnx.load(REGRESSION / "mobilenet_v2.onnx"), "mobilenet_v2")
    Canonicalize().run(program)
    return _calibrated(program, "INT8")


def _tiny(name: str) -> Program:
    path = REGRESSION / "model" / f"mlperf_tiny_{name}_int8.tflite"
    program = import_tflite(load_tflite(path), name.split("_")[0])
    Layout().run(program)
    ConvertQuantizedToTpu(profile="tosa").run(program)
    return program


BUILDERS = {
    "mnist_cnn": lambda: _calibrated(mnist(), "INT8 asymmetric"),
    **{name.split("_")[0]: lambda name=name: _tiny(name) for name in QUANTISED},
    "mobilenet_v2": _mobilenet_v2,
}


def lowered(name: str, folder: Path) -> Path:
    """Write a network's lowered module and return its path."""
    path = folder / f"{name}.mlir"
    BUILDERS[name]().write(path)
    return path


def random_inputs(path: Path, count: int) -> list[Tensors]:
    """Return inputs by the names that callers know, in the types that the network takes; always the same."""
    program, rng = read_program(path), np.random.default_rng(len(path.stem))
    specs = {spec.name: spec for spec in MlirRunner(program).inputs()}
    takes = {argument_name(op): storage_of(op.results[0]) for op in program.input_ops}
    return [{name: _random(rng, spec, takes[name]) for name, spec in specs.items()} for _ in range(count)]


def _random(rng: np.random.Generator, spec: TensorSpec, taken: str) -> np.ndarray:
    """Return integers of the whole range; where reals are taken, ones that are between them too."""
    limits = np.iinfo(DTYPES[spec.info.type])
    if taken != "f32":
        return rng.integers(limits.min, limits.max + 1, spec.shape).astype(DTYPES[taken])
    stored = rng.uniform(limits.min, limits.max, spec.shape)
    return ((stored - spec.info.zero_point) * spec.info.scale).astype(np.float32)
