"""Runs samples through a TOP program and sketches every float tensor; memory does not grow with the samples."""

import hashlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
from xdsl.ir import SSAValue

from stepdown.calibration.methods import DEFAULT_PERCENTILE, choose_range
from stepdown.calibration.sketch import Sketch
from stepdown.data.dataset import Dataset, Sample
from stepdown.data.image import is_image
from stepdown.data.preprocess import Preprocess
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program, State, argument_name
from stepdown.dialects.top import TopOp
from stepdown.dialects.types import DTYPES, shape_of, storage_of
from stepdown.errors import InputError
from stepdown.files.hashes import sha256_file
from stepdown.runtimes.interpreter import Interpreter
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.runner import match_inputs
from stepdown.transforms.import_calibration_table import Row, float_values

Sketches = dict[str, Sketch]


def calibrate(program: Program, samples: Dataset, on_sample: Callable[[int], None] = lambda done: None) -> Sketches:
    """Return the sketch of every float32 tensor of `program` over all samples, in the program's order.

    `on_sample` is called after every sample with the number of samples done.

    Raises:
        InputError: the program is not in TOP, or a sample does not fit it or makes a tensor NaN or infinite.
    """
    if program["state"] not in (State.TOP_F32, State.TOP_CALIBRATED):
        raise InputError(
            f"calibration needs a float module, this one is {program['state'] or 'in no state'}",
            program.path,
            "give the .mlir file that model_transform.py wrote",
        )
    sketches = {value_name(value): Sketch() for value in float_values(program)}
    interpreter = Interpreter(program)
    specs = MlirRunner(program).inputs()
    for number, file in enumerate(samples.files):
        arguments = _arguments(program, match_inputs(samples[number], specs, str(file)), file)
        interpreter.run(arguments, _observer(sketches, file))
        on_sample(number + 1)
    return sketches


def program_inputs(program: Program, files: Iterable[Path]) -> dict[str, Preprocess]:
    """Return, by input name, how `files` become the inputs of `program`.

    Raises:
        InputError: some of the files are photos, and the program does not say how a photo becomes its input.
    """
    stored = program.preprocessing
    shapes = {argument_name(op): shape_of(op.results[0]) for op in program.input_ops}
    photo = next((file for file in files if is_image(file)), None)
    unknown = [name for name in shapes if name not in stored]
    if photo is not None and unknown:
        raise InputError(
            f"holds no preprocessing for input '{unknown[0]}', so it cannot take the photo {photo.name}",
            program.path,
            "run model_transform.py with --resize_dims, --mean, --scale and --pixel_format, or list .npz files",
        )
    return {
        name: Preprocess.from_attributes(stored.get(name, {"channel_format": "none"}), shape)
        for name, shape in shapes.items()
    }


def choose_ranges(
    sketches: Sketches, method: str, percentile: float = DEFAULT_PERCENTILE, exact: Collection[str] = ()
) -> dict[str, Row]:
    """Return the table's rows, in the order of the sketches; the tensors `exact` keep all they took (method max)."""
    return {
        name: choose_range(sketch, "max" if name in exact else method, percentile) for name, sketch in sketches.items()
    }


def probabilities(program: Program) -> set[str]:
    """Return the names of tensors whose rare largest values are the result: they are never clipped."""
    return {name for op in program.ops if isinstance(op, TopOp) and op.probability for name in op.names}


def samples_digest(files: Iterable[Path]) -> str:
    """Return a hash of what the sample files hold, whatever their names and order: neither changes the result."""
    return hashlib.sha256("".join(sorted(map(sha256_file, files))).encode()).hexdigest()


def _observer(sketches: Sketches, file: Path) -> Callable[[TensorOp, int, np.ndarray], None]:
    def observe(op: TensorOp, index: int, array: np.ndarray) -> None:
        sketch = sketches.get(op.names[index])
        if sketch is not None:
            try:
                sketch.update(array)
            except ValueError as error:
                fix = "check the model and its preprocessing on this sample, or leave the sample out"
                raise InputError(f"{error} in tensor '{op.names[index]}'", str(file), fix) from None

    return observe


def _arguments(program: Program, sample: Sample, file: Path) -> dict[SSAValue, np.ndarray]:
    """Return the inputs in the types the program wants; integers are never cut."""
    arguments = {}
    for op in program.input_ops:
        array, wanted = sample[argument_name(op)], DTYPES[storage_of(op.results[0])]
        if wanted.kind != "f" and not np.array_equal(array.astype(wanted), array):
            raise InputError(f"input '{argument_name(op)}' is {array.dtype}, want {wanted}", str(file))
        arguments[op.operands[0]] = array.astype(wanted, copy=False)
    return arguments
