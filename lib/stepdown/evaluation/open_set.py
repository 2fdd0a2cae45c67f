"""Finding out what kind of labelled data a path holds."""

from collections.abc import Sequence
from pathlib import Path

from stepdown.errors import InputError
from stepdown.evaluation.arrays import open_arrays
from stepdown.evaluation.class_tree import open_tree
from stepdown.evaluation.photo_list import LIST, open_list
from stepdown.evaluation.samples import LabelledSet


def open_set(
    path: Path, classes: int, class_names: Sequence[str] = (), listed: Path | None = None, accept: Path | None = None
) -> LabelledSet:
    """Return the samples of an npz file, of a list (`.txt`), of a folder with a `val.txt`, or of a tree of classes.

    `classes` and `class_names` are the network's, without a background; `listed` and `accept` name the list of the
    photos in `path` and the table of labels that count as right where they lie elsewhere.

    Raises:
        InputError: no such path, or nothing labelled in it.
    """
    if not path.exists():
        raise InputError("no such file or folder", str(path))
    if path.is_file() and path.suffix not in (".npz", ".txt"):
        raise InputError("is no labelled data", str(path), "give a folder, a list .txt or an .npz with x and y")
    if (listed or accept) and path.suffix == ".npz" and path.is_file():
        raise InputError("holds its own labels", str(path), "leave out --val_list and --accept")
    if path.is_file():
        return open_arrays(path) if path.suffix == ".npz" else open_list(path, accept)
    if listed or (path / LIST).is_file():
        return open_list(listed or path / LIST, accept, path)
    if accept:
        raise InputError(f"needs a list of photos; {path} has no {LIST}", "--accept")
    return open_tree(path, classes, class_names)
