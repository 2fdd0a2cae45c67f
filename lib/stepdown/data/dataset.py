"""Choosing sample files and reading them, one at a time, as network inputs."""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from stepdown.data.image import IMAGE_SUFFIXES, is_image
from stepdown.data.preprocess import Preprocess
from stepdown.errors import InputError
from stepdown.files.npz import closest, read_npz

SAMPLE_SUFFIXES = (*IMAGE_SUFFIXES, ".npz", ".npy")
_NAMED_AT_MOST = 20

Sample = dict[str, np.ndarray]


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """Files and, by input name, how each becomes a network's inputs; a file is read when its sample is asked for.

    A photo feeds a network of one input. An `.npz` file holds a tensor for each input, under the inputs' names, ready
    to be used: it is not preprocessed. A `.npy` file holds the only input.
    """

    files: tuple[Path, ...]
    inputs: Mapping[str, Preprocess]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: "int | slice") -> "Sample | Dataset":
        if isinstance(index, slice):
            return Dataset(self.files[index], self.inputs)
        return read_sample(self.files[index], self.inputs)


def read_sample(path: str | os.PathLike[str], inputs: Mapping[str, Preprocess]) -> Sample:
    """Return, by input name, the tensors of a sample file (see `Dataset`).

    Raises:
        InputError: the file is missing or broken, cannot feed these inputs, or lacks one of them.
    """
    if not is_image(path):
        return _named_tensors(path, list(inputs))
    if len(inputs) != 1:
        raise InputError(
            f"a photo cannot feed the {len(inputs)} inputs {', '.join(inputs)}", str(path), "give an .npz file"
        )
    return {name: preprocess.preprocess_file(path) for name, preprocess in inputs.items()}


def select_files(
    data_list: str | os.PathLike[str] | None = None,
    dataset: str | os.PathLike[str] | None = None,
    input_num: int = 0,
    seed: int = 0,
) -> list[Path]:
    """Return the files of a list, its first `input_num`, or of a folder, `input_num` chosen at random; 0 means all.

    Where there are fewer, all of them.

    Raises:
        InputError: not exactly one of `data_list` and `dataset` is given, or it holds nothing usable.
    """
    if data_list is not None and dataset is None:
        files = read_list(data_list)
        return files[: input_num or len(files)]
    if dataset is not None and data_list is None:
        return choose(scan_folder(dataset), input_num, seed)
    raise InputError("give either --data_list or --dataset")


def read_list(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a text file names, one a line; blank lines and lines that begin with `#` are skipped.

    A relative name counts from the working directory or, where nothing is there, from the list's own folder.

    Raises:
        InputError: the list is missing, not text or empty, or it names files that do not exist (they are listed).
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list ({error})", str(path)) from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise InputError("the list names no files", str(path))
    files = [_resolve(name, Path(path).parent) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if not os.path.isfile(file)]
    if missing:
        more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
        raise InputError(
            f"{len(missing)} of {len(names)} files do not exist: {', '.join(missing[:_NAMED_AT_MOST])}{more}", str(path)
        )
    return files


def scan_folder(folder: str | os.PathLike[str], required: bool = True) -> list[Path]:
    """Return all sample files below a folder, sorted by their path from it; hidden files and folders are skipped.

    Raises:
        InputError: no such folder, or no sample file in it though one is `required`.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("is not a folder" if root.exists() else "no such folder", str(folder))
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, n) for n in names if n.lower().endswith(SAMPLE_SUFFIXES) and not n.startswith(".")]
    if required and not found:
        raise InputError("holds no sample files", str(folder), f"want {', '.join(SAMPLE_SUFFIXES)}")
    return sorted(found, key=lambda file: file.relative_to(root).as_posix())


def choose(files: Sequence[Path], count: int, seed: int = 0) -> list[Path]:
    """Return `count` of the files (0 or too many: all), chosen by `random.Random(seed).sample`, in the order given."""
    if not 0 < count < len(files):
        return list(files)
    return [files[i] for i in sorted(random.Random(seed).sample(range(len(files)), count))]


def _resolve(name: str, folder: Path) -> Path:
    return Path(name) if os.path.exists(name) else folder / name


def _named_tensors(path: str | os.PathLike[str], names: list[str]) -> Sample:
    if not str(path).endswith((".npz", ".npy")):
        raise InputError("not a sample file", str(path), f"want {', '.join(SAMPLE_SUFFIXES)}")
    tensors = read_npz(path)
    if str(path).endswith(".npy"):
        if len(names) != 1:
            raise InputError(f"one array cannot feed the inputs {', '.join(names)}", str(path), "give an .npz file")
        return {names[0]: next(iter(tensors.values()))}
    for name in names:
        if name not in tensors:
            raise InputError(f"has no tensor for the input '{name}'", str(path), closest(name, tensors))
    return {name: tensors[name] for name in names}
