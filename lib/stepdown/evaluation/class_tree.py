"""A folder a class: ImageNet's tree of WordNet ids (`regression/valprep.sh` makes it), class numbers, or names."""

import re
from collections.abc import Sequence
from pathlib import Path

from stepdown.data.dataset import scan_folder
from stepdown.data.image import is_image
from stepdown.errors import InputError
from stepdown.evaluation.samples import LabelledSet, PhotoFiles, class_number

# The ids of the 1000 classes of ILSVRC 2012; sorted, they are the classes 0, 1, … of torchvision's models.
SYNSETS = Path(__file__).with_name("imagenet_synsets.txt")
WNID = re.compile(r"n\d{8}")


def open_tree(folder: Path, classes: int, class_names: Sequence[str]) -> LabelledSet:
    """Return the photos of a tree, the first folder of their path being their class (see `folder_labels`).

    Raises:
        InputError: no photos, photos outside the class folders, or folders that are no classes.
    """
    photos = [file for file in scan_folder(folder, required=False) if is_image(file)]
    relative = [file.relative_to(folder) for file in photos]
    loose = [str(path) for path in relative if len(path.parts) == 1]
    if loose or not photos:
        raise InputError(
            f"{len(loose)} photos lie outside class folders, the first is {loose[0]}" if loose else "holds no photos",
            str(folder),
            "make one folder a class (regression/valprep.sh does for ImageNet), or list `file class` in its val.txt",
        )
    labels = folder_labels(sorted({path.parts[0] for path in relative}), classes, class_names, str(folder))
    by_label = {label: name for name, label in labels.items()}
    names = tuple(by_label.get(i, str(i)) for i in range(max(by_label) + 1))
    own = not any(WNID.fullmatch(name) or class_number(name) is not None for name in labels)
    return LabelledSet(
        str(folder), tuple(path.as_posix() for path in relative), tuple(labels[path.parts[0]] for path in relative),
        PhotoFiles(tuple(photos)), class_names=names if own else (),
    )  # fmt: skip


def folder_labels(folders: Sequence[str], classes: int, class_names: Sequence[str], where: str) -> dict[str, int]:
    """Return the class of each folder.

    Numbers are themselves. As many folders as `classes`: their order, sorted. Fewer: WordNet ids have ImageNet's
    numbers, other names are looked up in `class_names`.

    Raises:
        InputError: folders that cannot be told, named.
    """
    numbers = {name: class_number(name) for name in folders}
    if all(number is not None for number in numbers.values()):
        return {name: number for name, number in numbers.items() if number is not None}
    if len(folders) == classes:
        return {name: number for number, name in enumerate(sorted(folders))}
    ids = all(WNID.fullmatch(name) for name in folders)
    known = SYNSETS.read_text(encoding="ascii").split() if ids else list(class_names)
    places = {name: known.index(name) for name in folders if known.count(name) == 1}
    unknown = [name for name in folders if name not in places]
    if unknown:
        raise InputError(
            f"{len(folders)} class folders, the network has {classes} classes, and the name '{unknown[0]}' does not "
            f"tell which it is ({len(unknown)} such)",
            where,
            "name the folders by number or WordNet id, or give the names of all classes by --labels",
        )
    return places
