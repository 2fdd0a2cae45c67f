"""How each engine makes something to run of a network: ours generates code, the others load their own kind of file."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stepdown.data.preprocess import Preprocess
from stepdown.dialects.program import Program, State, read_program
from stepdown.errors import InputError
from stepdown.evaluation.experiments.plan import OURS, Row, Subject
from stepdown.evaluation.network import input_shape, only_input, relaid
from stepdown.files.npz import NpzMetadata, TensorInfo
from stepdown.runtimes.runner import Runner, RunnerOptions, Tensors, TensorSpec

if TYPE_CHECKING:
    from stepdown.native.machine import Machine


class Timed(Runner, Protocol):
    """A runner that can run once more on its last inputs, without a copy or a conversion."""

    def again(self) -> object:
        """Run once more on the last inputs."""


@dataclass(frozen=True)
class Artefact:
    """What a network was made into: the size of its file, the file it was made of, and how long that took.

    `source_bytes` counts the source with its weights; `notes` are the compiler's words on layouts.
    """

    artefact_bytes: int
    source: str
    source_bytes: int
    compile_s: float
    notes: dict[str, Any]
    open: Callable[[], Timed]


def made(subject: Subject, row: Row, folder: Path, tune: int = 0) -> Artefact:
    """Return a network made ready for an engine, in a folder for what is written; level 4 tunes so many times.

    Raises:
        InputError: a file is missing or of another kind.
        UnsupportedModel: the engine has no code for it.
    """
    if row.engine == OURS:
        return _stepdown(subject, row, folder, tune)
    return _OTHERS[row.engine](subject, row, folder)


def preprocess_of(path: str) -> Preprocess | None:
    """Return how photos become the one input of a module; None where its samples are no photos.

    Raises:
        InputError: it has several inputs.
    """
    program = read_program(path)
    if len(program.input_ops) != 1:
        raise InputError(f"has {len(program.input_ops)} inputs, one is fed", path)
    stored = next(iter(program.preprocessing.values()), None)
    made = Preprocess.from_attributes(stored) if stored else None
    return made if made is not None and made.is_image else None


def fitted(preprocess: Preprocess | None, runner: Timed, path: str) -> Preprocess:
    """Return a module's preprocessing for the input of an engine, which may be laid out otherwise."""
    shape = input_shape(only_input(runner, path), path)
    if preprocess is None:
        return Preprocess(shape, channel_format="none")
    return relaid(preprocess, shape, "nhwc" if shape[-1] in (1, 3) else "nchw")


# --- ours


def _stepdown(subject: Subject, row: Row, folder: Path, tune: int) -> Artefact:
    from stepdown.native.code import Code
    from stepdown.native.layout_notes import layout_notes
    from stepdown.native.library import write_library
    from stepdown.native.tir import tirx
    from stepdown.runtimes.native import NativeRunner

    program = lowered(subject, row)
    tirx()  # importing the compiler is no part of compiling
    machine = _machine(program, row, tune)
    path, start = folder / "network.so", time.perf_counter()
    code = Code(program, machine, "net")
    write_library(code, path)
    seconds = time.perf_counter() - start
    options = RunnerOptions(threads=row.threads)
    notes = {**asdict(layout_notes(code.network, machine.effort)), "activations_bytes": code.activations_bytes}
    source = _first(subject.source) or subject.mlir
    return Artefact(
        path.stat().st_size, source, model_bytes(source), seconds, notes,
        lambda: NativeRunner(path, options),
    )  # fmt: skip


def _machine(program: Program, row: Row, tuned: int) -> "Machine":
    """Return the processor of a row; at level 4 with the schedules that were measured for it, before or now."""
    from stepdown.chips import load_chip
    from stepdown.native.effort import effort_of
    from stepdown.native.machine import machine_of
    from stepdown.native.schedules import Cache
    from stepdown.native.tuning import tune

    machine = machine_of(load_chip(row.chip), row.processor, row.features, effort_of(row.level, row.layout))
    if not machine.effort.is_tuned:
        return machine
    cache = Cache(machine)
    if tuned:
        tune(program, machine, tuned, cache)
    return replace(machine, schedules=cache)


def lowered(subject: Subject, row: Row) -> Program:
    """Return the network in the mode of a row; one that is quantised already is taken as it is.

    Raises:
        InputError: INT8 without a calibration table, or a quantised network in another mode.
        UnsupportedModel: the chip loads no library, or the network is lowered to the arithmetic of another.
    """
    from stepdown.chips import load_chip
    from stepdown.native.target import check_library, check_lowered
    from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
    from stepdown.transforms.import_calibration_table import ImportCalibrationTable

    chip = load_chip(row.chip)
    check_library(chip)
    program = read_program(subject.mlir)
    integers, asymmetric = row.mode.startswith("INT8"), row.mode.endswith("ASYM")
    if program["state"] == State.TPU_LOWERED:
        if not integers or asymmetric:
            raise InputError(f"is lowered already, and not to {row.mode}", subject.mlir, "mode = INT8")
        check_lowered(program, chip)
        return program
    if integers and not subject.table:
        raise InputError("INT8 needs a calibration table", subject.name, 'table = "X_cali_table"')
    if integers:
        ImportCalibrationTable(file=subject.table, asymmetric=asymmetric).run(program)
    mode = "INT8" if integers else row.mode
    ConvertTopToTpu(mode=mode, chip=row.chip, asymmetric=asymmetric).run(program)
    return program


# --- others


def _onnxruntime(subject: Subject, row: Row, folder: Path) -> Artefact:
    from stepdown.runtimes.peers import OnnxruntimePeer

    return _loaded(subject.file(row.mode, ".onnx"), lambda path: OnnxruntimePeer(path, row.threads))


def _litert(subject: Subject, row: Row, folder: Path) -> Artefact:
    from stepdown.runtimes.peers import LitertPeer

    return _loaded(subject.file(row.mode, ".tflite"), lambda path: LitertPeer(path, row.threads))


def _loaded(path: str, load: Callable[[str], Timed]) -> Artefact:
    """Return a file that an engine prepares while it loads it."""
    if not Path(path).is_file():
        raise InputError("no such file", path)
    start = time.perf_counter()
    runner = load(path)
    seconds = time.perf_counter() - start
    return Artefact(model_bytes(path), path, model_bytes(path), seconds, {}, lambda: runner)


def _relax(subject: Subject, row: Row, folder: Path) -> Artefact:
    from stepdown.formats.onnx.loader import load_onnx
    from stepdown.native.relax import RelaxModel, host_processor

    source = subject.file(row.mode, ".onnx")
    if row.threads > 1:
        raise InputError("TVM's default code has one thread", subject.name, "threads = 1")
    model, processor = load_onnx(source), row.processor or host_processor()
    start = time.perf_counter()
    made_of = RelaxModel(model, source, processor)
    path = folder / "relax.so"
    made_of.write_library(path)
    seconds = time.perf_counter() - start
    specs = [_onnx_spec(value) for value in model.graph.input], [_onnx_spec(value) for value in model.graph.output]
    runner = _RelaxRunner(made_of, source, specs)
    return Artefact(path.stat().st_size, source, model_bytes(source), seconds, {}, lambda: runner)


@dataclass(frozen=True)
class _RelaxRunner:
    """TVM's compiled model as a runner."""

    model: Any
    path: str
    specs: tuple[list[TensorSpec], list[TensorSpec]]

    @property
    def preprocessing(self) -> dict[str, dict[str, Any]]:
        """Nothing: the file does not say."""
        return {}

    @property
    def metadata(self) -> NpzMetadata:
        """Nothing but the names of the outputs."""
        return NpzMetadata({}, tuple(s.name for s in self.specs[1]), Path(self.path).name, "")

    def inputs(self) -> list[TensorSpec]:
        """The network's inputs."""
        return self.specs[0]

    def outputs(self) -> list[TensorSpec]:
        """The network's outputs."""
        return self.specs[1]

    def run(self, tensors: Mapping[str, np.ndarray], wanted: str = "outputs") -> Tensors:
        """Run once."""
        return {self.specs[1][0].name: self.model.run({s.name: tensors[s.name] for s in self.specs[0]})}

    def again(self) -> object:
        """Run once more on the last inputs."""
        return self.model.again()

    def close(self) -> None:
        """Release the model."""


def _onnx_spec(value: Any) -> TensorSpec:
    sizes = tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)
    return TensorSpec(value.name, sizes, TensorInfo())


def model_bytes(path: str) -> int:
    """Return the bytes of a model file; of a module, with its weights."""
    whole = Path(path).stat().st_size
    if path.endswith(".mlir"):
        whole += (Path(path).parent / read_program(path)["weight_file"]).stat().st_size
    return whole


def _first(paths: str) -> str:
    return paths.split(",")[0]


_OTHERS: dict[str, Callable[[Subject, Row, Path], Artefact]] = {
    "onnxruntime": _onnxruntime, "litert": _litert, "tvm-relax": _relax,
}  # fmt: skip
