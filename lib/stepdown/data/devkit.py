"""Sorting the photos of ImageNet's validation set into a folder a class, by the ground truth of its devkit."""

import os
import tarfile
from pathlib import Path

from stepdown.data.matfile import read_table
from stepdown.errors import InputError

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
_TAIL = 1 << 16


def photo_name(number: int) -> str:
    """Return the file name of the validation photo `number`, counted from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def read_classes(devkit: str | os.PathLike[str]) -> list[str]:
    """Return the class (WordNet id, "n01440764") of each validation photo, in the order of their numbers.

    `devkit` is ILSVRC2012_devkit_t12.tar.gz or the folder it unpacks to.

    Raises:
        InputError: no such devkit, a file is missing from it, or its two files do not agree.
    """
    content = _read_members(Path(devkit))
    wnids = {row.get("ILSVRC2012_ID"): row.get("WNID") for row in read_table(devkit, content[META], "synsets")}
    try:
        numbers = [int(line) for line in content[GROUND_TRUTH].split()]
    except ValueError as error:
        raise InputError(f"{GROUND_TRUTH} is malformed ({error})", str(devkit)) from error
    unknown = sorted({n for n in numbers if not isinstance(wnids.get(n), str)})
    if unknown or not numbers:
        raise InputError(
            f"{GROUND_TRUTH} names classes that {META} lacks: {unknown[:10]}"
            if numbers
            else f"{GROUND_TRUTH} is empty",
            str(devkit),
        )
    return [str(wnids[n]) for n in numbers]


def sort_photos(folder: str | os.PathLike[str], classes: list[str]) -> int:
    """Move each photo lying in `folder` into the folder of its class; returns how many were moved.

    Photos already in their place stay, so a second run, or one after an interruption, completes the work.

    Raises:
        InputError: photos are missing, or one to be moved is empty or cut off; then none is moved.
    """
    root = Path(folder)
    loose = set(os.listdir(root))
    targets = {photo_name(i): root / wnid / photo_name(i) for i, wnid in enumerate(classes, 1)}
    missing = [name for name, target in targets.items() if name not in loose and not target.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(classes)} photos are missing, the first is {missing[0]}",
            str(root),
            "unpack ILSVRC2012_img_val.tar there",
        )
    moves = [(root / name, target) for name, target in targets.items() if name in loose]
    broken = [source.name for source, _ in moves if not is_whole_jpeg(source)]
    if broken:
        raise InputError(
            f"{len(broken)} photos are empty or cut off, the first is {broken[0]}",
            str(root),
            "unpack ILSVRC2012_img_val.tar anew, where there is room for it",
        )
    for wnid in sorted(set(classes)):
        (root / wnid).mkdir(exist_ok=True)
    for source, target in moves:
        source.replace(target)
    return len(moves)


def is_whole_jpeg(path: Path) -> bool:
    """Return whether a file begins as a JPEG does and has its end mark among the last 64 KB.

    Source: ITU-T T.81, B.1.1.3: SOI is FF D8, EOI is FF D9, which compressed data never contain. Bytes may follow it.
    """
    with path.open("rb") as file:
        starts = file.read(2) == b"\xff\xd8"
        file.seek(max(2, path.stat().st_size - _TAIL))
        return starts and b"\xff\xd9" in file.read()


def _read_members(devkit: Path) -> dict[str, bytes]:
    """Return the bytes of the two files in the devkit's folder `data`."""
    read = _read_folder if devkit.is_dir() else _read_tar
    found = read(devkit)
    missing = [name for name in (META, GROUND_TRUTH) if name not in found]
    if missing:
        raise InputError(f"has no data/{', data/'.join(missing)}", str(devkit), "get ILSVRC2012_devkit_t12.tar.gz anew")
    return found


def _read_folder(devkit: Path) -> dict[str, bytes]:
    files = [devkit / "data" / name for name in (META, GROUND_TRUTH)]
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def _read_tar(devkit: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(devkit) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream and member.name.endswith((f"data/{META}", f"data/{GROUND_TRUTH}")):
                    found[Path(member.name).name] = stream.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"cannot read the devkit ({error})", str(devkit)) from error
    return found
