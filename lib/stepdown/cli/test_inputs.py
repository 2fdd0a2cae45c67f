"""The input tensors of a run, from the files that the user names: npz files, photos, or both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stepdown.errors import InputError
from stepdown.files.npz import read_npz

if TYPE_CHECKING:
    from stepdown.data.preprocess import Preprocess

TENSOR_SUFFIXES = (".npz", ".npy")
NO_PREPROCESSING = "give its tensor in an .npz file, or say how photos become it: --mean, --scale, --resize_dims, …"


def check_files(paths: Sequence[str]) -> None:
    """Raise InputError for the first path that is no file."""
    for path in paths:
        if not Path(path).is_file():
            raise InputError("is a directory" if Path(path).is_dir() else "no such file", path)


def read_inputs(
    paths: Sequence[str], names: Sequence[str], photos: "Mapping[str, Preprocess]", fix: str = NO_PREPROCESSING
) -> dict[str, np.ndarray]:
    """Return the tensors of the files, by input name.

    `names` are the network's inputs, `photos` says by input how a photo becomes it. The photos fill the batch of the
    one input that takes photos, or go to such inputs one each, in order.

    Raises:
        InputError: a file cannot be read, two give one tensor, or the photos do not fit the inputs.
    """
    tensors: dict[str, np.ndarray] = {}
    for path in paths:
        if path.endswith(TENSOR_SUFFIXES):
            _merge(tensors, _read_tensors(path, names), path)
    pictures = [path for path in paths if not path.endswith(TENSOR_SUFFIXES)]
    if pictures:
        _merge(tensors, _from_photos(pictures, photos, fix), pictures[0])
    return tensors


def _read_tensors(path: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    tensors = read_npz(path)
    if len(names) == 1 and len(tensors) == 1:
        only = next(iter(tensors))
        if path.endswith(".npy"):
            return {names[0]: tensors[only]}
        if only != names[0]:
            raise InputError(
                f"its one tensor is called '{only}', the network's input '{names[0]}'", path,
                f"npz_tool.py rename {path} {only} {names[0]}",
            )  # fmt: skip
    return tensors


def _merge(tensors: dict[str, np.ndarray], more: Mapping[str, np.ndarray], path: str) -> None:
    if twice := sorted(set(tensors) & set(more)):
        raise InputError(f"the tensor '{twice[0]}' is given by another file too", path)
    tensors.update(more)


def _from_photos(paths: list[str], photos: "Mapping[str, Preprocess]", fix: str) -> dict[str, np.ndarray]:
    if not photos:
        raise InputError("nothing says how a photo becomes an input of this network", paths[0], fix)
    batch = sum(preprocess.input_shape[0] for preprocess in photos.values())
    if len(paths) != batch:
        raise InputError(f"{len(paths)} photos, the inputs ({', '.join(photos)}) take {batch}", paths[0])
    rest = iter(paths)
    return {
        name: np.concatenate([preprocess.preprocess_file(next(rest)) for _ in range(preprocess.input_shape[0])])
        for name, preprocess in photos.items()
    }
