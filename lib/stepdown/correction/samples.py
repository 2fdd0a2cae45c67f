"""Calibration samples as the arguments of a program, for passes that read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from xdsl.ir import SSAValue

from stepdown.calibration.samples import program_inputs
from stepdown.data.dataset import Dataset, select_files
from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.runtimes.mlir import MlirRunner

Arguments = dict[SSAValue, np.ndarray]


@dataclass(frozen=True)
class ProgramSamples(Sequence[Arguments]):
    """Samples by number, read when asked for, as values of a program's arguments."""

    runner: MlirRunner
    samples: Dataset

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Arguments: ...
    @overload
    def __getitem__(self, index: slice) -> "ProgramSamples": ...
    def __getitem__(self, index: "int | slice") -> "Arguments | ProgramSamples":
        if isinstance(index, slice):
            return ProgramSamples(self.runner, self.samples[index])
        return self.runner.arguments(self.samples[index])


def open_samples(program: Program, dataset: str, data_list: str, input_num: int, seed: int) -> ProgramSamples:
    """Return the samples of a folder or a list, chosen as run_calibration.py chooses them.

    Raises:
        InputError: neither or both are given, or they do not fit the program.
    """
    if bool(dataset) == bool(data_list):
        raise InputError("give either dataset=FOLDER or data_list=FILE")
    files: list[Path] = select_files(data_list or None, dataset or None, input_num, seed)
    return ProgramSamples(MlirRunner(program), Dataset(tuple(files), program_inputs(program, files)))
