"""Samples as the arguments of a float program."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stepdown.data.dataset import Sample, read_sample
from stepdown.data.image import is_image
from stepdown.data.preprocess import Preprocess
from stepdown.dialects.program import Program, argument_name
from stepdown.dialects.types import DTYPES, shape_of, storage_of
from stepdown.errors import InputError
from stepdown.files.hashes import sha256_file
from stepdown.runtimes.mlir import input_spec
from stepdown.runtimes.runner import match_inputs


class SampleReader:
    """Reads sample files into the inputs of a program."""

    def __init__(self, program: Program, files: Iterable[Path]) -> None:
        self._program, self._preprocessing = program, program_inputs(program, files)
        self._specs = [input_spec(op) for op in program.input_ops]

    def read(self, file: Path) -> Sample:
        """Return, by input name, contiguous arrays of the types that the program wants; integers are never cut.

        Raises:
            InputError: the file cannot be read or does not fit the program.
        """
        sample = match_inputs(read_sample(file, self._preprocessing), self._specs, str(file))
        for op in self._program.input_ops:
            name, wanted = argument_name(op), DTYPES[storage_of(op.results[0])]
            array = sample[name]
            if wanted.kind != "f" and not np.array_equal(array.astype(wanted), array):
                raise InputError(f"input '{name}' is {array.dtype}, want {wanted}", str(file))
            sample[name] = np.require(array, wanted, "C")
        return sample


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


def samples_digest(hashes: Iterable[str]) -> str:
    """Return a hash of what the sample files hold, whatever their names and order: neither changes the result."""
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def file_hashes(files: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of every file."""
    return [sha256_file(file) for file in files]
