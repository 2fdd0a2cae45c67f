"""Runs samples through a TOP program and sketches every float tensor; memory does not grow with the samples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepdown.calibration.engines import Engine, choose_engine, engine_text
from stepdown.calibration.methods import DEFAULT_PERCENTILE, choose_range
from stepdown.calibration.samples import SampleReader, file_hashes
from stepdown.calibration.sketch import Sketch
from stepdown.calibration.sketches import Sketches, merge_arrays, to_arrays
from stepdown.dialects.op import Kind, TensorOp, value_name
from stepdown.dialects.program import Program, State, read_program
from stepdown.dialects.top import TopOp
from stepdown.distributed.freight import Item, items, model_items
from stepdown.distributed.job import Arrays
from stepdown.errors import InputError, UnsupportedModel
from stepdown.files.hashes import sha256_file
from stepdown.transforms.import_calibration_table import Row, float_values


class SketchJob:
    """The sketches of every float32 tensor of the module `model` over sample files, for the shard engine.

    Raises:
        InputError: the module is not in TOP, or its file or a sample's is missing.
        UnsupportedModel: it has no float32 tensor, or the engine wanted cannot run it.
    """

    def __init__(self, model: str, files: Sequence[Path], engine: str = "") -> None:
        self.model, self.files = model, list(files)
        self.hashes = file_hashes(self.files)
        self._load(engine)

    def _load(self, engine: str) -> None:
        self.program = read_program(self.model)
        refuse_lowered(self.program)
        self._refuse_without_floats()
        self._reader = SampleReader(self.program, self.files)
        self.engine, self._engine = choose_engine(self.program, engine)

    def shared_files(self) -> list[Item]:
        """Return the module and its weights."""
        return model_items(self.model)

    def sample_files(self, samples: range) -> list[Item]:
        """Return the files of these samples."""
        return items(self.files[number] for number in samples)

    def as_plain(self) -> Mapping[str, Any]:
        """Return what a machine that shares no files needs."""
        return {"model": self.model, "files": [str(file) for file in self.files], "engine": self.engine}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], place: Callable[[str], str]) -> "SketchJob":
        """Return the job where its files are at other places."""
        files = [Path(place(name)) for name in plain["files"]]
        job = cls.__new__(cls)
        job.__setstate__({"model": place(plain["model"]), "files": files, "hashes": [], "engine": plain["engine"]})
        return job

    def _refuse_without_floats(self) -> None:
        if not self.names:
            raise UnsupportedModel(
                "has no float32 tensor, so there is nothing to calibrate",
                self.program.path,
                "only float32 tensors become integers: convert the model to float32 first",
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process cannot find out by itself."""
        return {name: getattr(self, name) for name in ("model", "files", "hashes", "engine")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Load the module again, in another process."""
        self.__dict__.update(state)
        self._load(self.engine)

    @property
    def names(self) -> list[str]:
        """The tensors that are sketched, in the program's order."""
        return [value_name(value) for value in float_values(self.program)]

    def identity(self) -> Mapping[str, Any]:
        """Return the hashes of module, weights and samples, and the engine."""
        weights = self.program["weight_sha256"]
        return {
            "model": sha256_file(self.model), "weights": weights, "samples": self.hashes,
            "engine": engine_text(self.engine),
        }  # fmt: skip

    def open(self) -> "SketchTask":
        """Return what does shards; weights are shared with the process that this one was forked from."""
        return SketchTask(self._engine, self._reader, self.files, self.names)

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        """Return what both have seen."""
        return merge_arrays(total, more)


class SketchTask:
    """Sketches ranges of sample files."""

    def __init__(self, engine: Engine, reader: SampleReader, files: Sequence[Path], names: Sequence[str]) -> None:
        self._engine, self._reader, self._files, self._names = engine, reader, files, names

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        """Return the sketches of the samples, as arrays.

        Raises:
            InputError: a sample does not fit the program, or makes a tensor NaN or infinite.
        """
        sketches: Sketches = {name: Sketch() for name in self._names}
        for file in (self._files[number] for number in samples):
            self._engine.run(self._reader.read(file), _observer(sketches, file))
            on_sample()
        return to_arrays(sketches)

    def close(self) -> None:
        """Nothing to release."""


def refuse_lowered(program: Program) -> None:
    """Raise InputError where a program is not in float TOP."""
    if program["state"] not in (State.TOP_F32, State.TOP_CALIBRATED):
        raise InputError(
            f"calibration needs a float module, this one is {program['state'] or 'in no state'}",
            program.path,
            "give the .mlir file that model_transform.py wrote",
        )


def choose_ranges(
    sketches: Sketches, method: str, percentile: float = DEFAULT_PERCENTILE, exact: Collection[str] = ()
) -> dict[str, Row]:
    """Return the table's rows, in the order of the sketches; the tensors `exact` keep all they took (method max)."""
    return {
        name: choose_range(sketch, "max" if name in exact else method, percentile) for name, sketch in sketches.items()
    }


def never_clipped(program: Program) -> set[str]:
    """Return the names of tensors whose rare largest values are what the network says.

    These are probabilities, the network's results, and what the Softmax of a result reads: of 1,000 logits one counts.
    """
    found = {name for op in program.ops if isinstance(op, TopOp) and op.probability for name in op.names}
    wanted = list(program.results)
    while wanted:
        op = wanted.pop().owner
        if isinstance(op, TensorOp):
            found.update(op.names)
            wanted += op.operands if op.kind is Kind.MOVE or op.name == "top.Softmax" else ()
    return found


def _observer(sketches: Sketches, file: Path) -> Callable[[str, np.ndarray], None]:
    def observe(name: str, array: np.ndarray) -> None:
        sketch = sketches.get(name)
        if sketch is not None:
            try:
                sketch.update(array)
            except ValueError as error:
                fix = "check the model and its preprocessing on this sample, or leave the sample out"
                raise InputError(f"{error} in tensor '{name}'", str(file), fix) from None

    return observe
