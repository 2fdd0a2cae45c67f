"""A second pass over some samples that moves the ends of ranges to where the ops that read a tensor suffer least.

The method of the first pass looks at the values of a tensor alone. Here every tensor x is quantised with candidate
ranges, all else stays float, and the ops that read x are run again: the error of a candidate is

    Σ over samples and readers f of  ‖f(q(x)) − f(x)‖² / ‖f(x)‖²

and of a tensor that nothing reads ‖q(x) − x‖² / ‖x‖². Candidates are the range times each of `FACTORS`, cut at what
the first pass saw. The one with the least error is taken, the nearest to the range of the first pass among equals;
symmetric and asymmetric ranges are tuned apart. The error of every sample is kept by itself and summed in the order of
the samples, so that the result does not depend on how they were spread over workers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.calibration.calibrate import refuse_lowered
from stepdown.calibration.samples import SampleReader, file_hashes
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program, argument_name, read_program
from stepdown.distributed.freight import Item, items, model_items
from stepdown.distributed.job import Arrays
from stepdown.files.hashes import sha256_file
from stepdown.numerics.quantize import QuantParams, asymmetric, dequantize, quantize, symmetric
from stepdown.runtimes.interpreter import Interpreter, run_op
from stepdown.transforms.import_calibration_table import Row, float_values

FACTORS = (1.0, 0.93, 1.08, 0.86, 1.16, 0.78, 1.25, 0.7, 0.62, 0.54, 0.46)
"""Candidates, in units of the first pass's range, the nearest to it first."""

Rows = Mapping[str, Row]


class TuneJob:
    """The errors of all candidates over sample files, for the shard engine.

    `rows` are the ranges of the first pass, `limits` what it saw at most; both by tensor name.
    """

    def __init__(self, model: str, files: Sequence[Path], rows: Rows, limits: Rows) -> None:
        self.model, self.files, self.rows, self.limits = model, list(files), dict(rows), dict(limits)
        self.hashes = file_hashes(self.files)

    def shared_files(self) -> list[Item]:
        """Return the module and its weights."""
        return model_items(self.model)

    def sample_files(self, samples: range) -> list[Item]:
        """Return the files of these samples."""
        return items(self.files[number] for number in samples)

    def as_plain(self) -> Mapping[str, Any]:
        """Return what a machine that shares no files needs."""
        ranges = {kind: {name: asdict(row) for name, row in rows.items()} for kind, rows in self._ranges()}
        return {"model": self.model, "files": [str(file) for file in self.files], **ranges}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], place: Callable[[str], str]) -> "TuneJob":
        """Return the job where its files are at other places."""
        job = cls.__new__(cls)
        job.model, job.files, job.hashes = place(plain["model"]), [Path(place(name)) for name in plain["files"]], []
        job.rows, job.limits = ({name: Row(**row) for name, row in plain[kind].items()} for kind in ("rows", "limits"))
        return job

    def _ranges(self) -> Iterator[tuple[str, Rows]]:
        yield "rows", self.rows
        yield "limits", self.limits

    def identity(self) -> Mapping[str, Any]:
        """Return the hashes of module, weights and samples, and all candidates."""
        ranges = {name: [asdict(rows[name]) for rows in (self.rows, self.limits)] for name in self.rows}
        weights = read_program(self.model)["weight_sha256"]
        return {
            "model": sha256_file(self.model), "weights": weights, "samples": self.hashes, "ranges": ranges,
            "factors": FACTORS,
        }  # fmt: skip

    def open(self) -> "TuneTask":
        """Load the module."""
        program = read_program(self.model)
        refuse_lowered(program)
        return TuneTask(self, program)

    def merge(self, total: Arrays, more: Arrays) -> Arrays:
        """Return the errors [samples, tensors, symmetries, candidates] of both."""
        return {"errors": np.concatenate([total["errors"], more["errors"]])}


class TuneTask:
    """Measures candidates on ranges of samples."""

    def __init__(self, job: TuneJob, program: Program) -> None:
        self._files, self._reader = job.files, SampleReader(program, job.files)
        self._interpreter = Interpreter(program)
        self._inputs = {argument_name(op): op.operands[0] for op in program.input_ops}
        values = list(float_values(program))
        self._place = {value: place for place, value in enumerate(values)}
        self._candidates = [[*candidates(job.rows[n], job.limits[n])] for n in map(value_name, values)]
        self._readers = Counter(use for op in program.ops for use in {*op.operands})

    def run(self, samples: range, on_sample: Callable[[], None]) -> Arrays:
        """Return the errors [samples, tensors, symmetries, candidates]."""
        measured = []
        for number in samples:
            measured.append(self._measure(self._files[number]))
            on_sample()
        return {"errors": np.stack(measured)}

    def close(self) -> None:
        """Nothing to release."""

    def _measure(self, file: Path) -> np.ndarray:
        """Return the errors [tensors, symmetries, candidates] over one sample."""
        errors = np.zeros((len(self._place), 2, len(FACTORS)))
        live: dict[SSAValue, np.ndarray] = {}
        made: list[np.ndarray] = []
        unread = Counter(self._readers)

        def told(op: TensorOp, index: int, array: np.ndarray) -> None:
            value = op.results[index]
            made.append(array)
            live[value] = array
            if value in self._place and not self._readers[value]:
                self._add(errors, value, array, lambda changed: [changed], [array])
            if index + 1 == len(op.results):
                self._add_reader(errors, op, live, made)
                made.clear()
                _forget(op, live, unread)

        sample = self._reader.read(file)
        self._interpreter.run({self._inputs[name]: array for name, array in sample.items()}, told)
        return errors

    def _add_reader(
        self, errors: np.ndarray, op: TensorOp, live: Mapping[SSAValue, np.ndarray], results: Sequence[np.ndarray]
    ) -> None:
        """Add what `op` makes of every candidate of every tensor that it reads."""
        inputs = [live.get(v, self._interpreter.weights.get(v)) for v in op.operands]
        for value in {*op.operands} & self._place.keys() & live.keys():

            def again(changed: np.ndarray, value: SSAValue = value) -> list[np.ndarray]:
                given = [changed if v is value else x for v, x in zip(op.operands, inputs, strict=True)]
                return run_op(op, given)

            self._add(errors, value, live[value], again, results)

    def _add(
        self, errors: np.ndarray, value: SSAValue, array: np.ndarray,
        again: Callable[[np.ndarray], list[np.ndarray]], results: Sequence[np.ndarray],
    ) -> None:  # fmt: skip
        """Add the relative error of `results` where `array` is quantised with each candidate; equal ones run once."""
        known: dict[QuantParams, float] = {}
        place = self._place[value]
        for symmetry, choices in enumerate(self._candidates[place]):
            for number, params in enumerate(choices):
                if params not in known:
                    known[params] = relative_error(again(dequantize(quantize(array, params), params)), results)
                errors[place, symmetry, number] += known[params]


def candidates(row: Row, limit: Row) -> Iterator[list[QuantParams]]:
    """Yield the symmetric candidates of a tensor, then the asymmetric ones."""
    scaled = [scale_row(row, limit, factor, factor) for factor in FACTORS]
    yield [symmetric(r.threshold, r.minimum) for r in scaled]
    yield [asymmetric(r.minimum, r.maximum) for r in scaled]


def scale_row(row: Row, limit: Row, symmetric_factor: float, asymmetric_factor: float) -> Row:
    """Return a row's threshold, and its two ends, times a factor each, as float32 values cut at `limit`.

    A minimum that is not below zero stays: it says that the tensor is unsigned.
    """
    low = max(row.minimum * asymmetric_factor, limit.minimum) if row.minimum < 0 else row.minimum
    high = min(row.maximum * asymmetric_factor, limit.maximum) if row.maximum > 0 else row.maximum
    threshold = min(row.threshold * symmetric_factor, limit.threshold)
    return Row(*(float(np.float32(v)) for v in (threshold, min(low, high), high)))


def tuned_rows(names: Sequence[str], rows: Rows, limits: Rows, errors: np.ndarray) -> dict[str, Row]:
    """Return the rows with the least error; `errors`[samples, tensors, symmetries, candidates]."""
    best = errors.sum(axis=0).argmin(axis=2)
    return {
        name: scale_row(rows[name], limits[name], FACTORS[best[place, 0]], FACTORS[best[place, 1]])
        for place, name in enumerate(names)
    }


def relative_error(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Return Σ ‖found − wanted‖² / ‖wanted‖² over float results, 0 where nothing is wanted but zeros."""
    total = 0.0
    for one, other in zip(found, wanted, strict=True):
        if other.dtype == np.float32:
            energy = float(np.vdot(other, other))
            difference = one - other
            total += float(np.vdot(difference, difference)) / energy if energy else 0.0
    return total


def _forget(op: TensorOp, live: dict[SSAValue, np.ndarray], unread: Counter[SSAValue]) -> None:
    """Drop what no later op reads."""
    for value in {*op.operands, *op.results}:
        unread[value] -= value in op.operands
        if unread[value] <= 0:
            live.pop(value, None)
