"""model_tool.py --extract: the parts of a model file as files that other tools read."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.model import ModelFile, Stage, Weight

_MAX_NAME = 80


def run(args: argparse.Namespace) -> int:
    """Write the parts into a folder and list them."""
    from stepdown.model import read_model_file

    model = read_model_file(args.extract)
    folder = Path(args.output or f"{Path(args.extract).stem}_parts")
    _make_empty(folder)
    written = extract(model, folder)
    for path in written:
        print(f"{path.relative_to(folder)} {path.stat().st_size:,} bytes")
    print(f"wrote {len(written)} files into {folder}")
    return 0


def _make_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is there already", str(folder), "give another folder with -o")
    if not folder.parent.is_dir():
        raise InputError("the folder to write into does not exist", str(folder.parent), "create it first")
    folder.mkdir(exist_ok=True)


def extract(model: "ModelFile", folder: Path) -> list[Path]:
    """Write the description, the chip, and for each stage its streams, weights and host subnets; return the files."""
    from stepdown.files.atomic import write_text
    from stepdown.model.file import CHIP_SECTION, MODEL_SECTION, description_text

    names = _FileNames(folder)
    written = [names.take(MODEL_SECTION), names.take(CHIP_SECTION)]
    for path, text in zip(written, (description_text(model.networks), model.chip), strict=True):
        write_text(path, text)
    for network in model.networks:
        for index, stage in enumerate(network.stages):
            stem = network.name + (f".{index}" if len(network.stages) > 1 else "")
            written += _stage(model, stage, stem, names)
    return written


class _FileNames:
    """Names of files that are safe, and each given once, whatever letters a network's name has."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._taken = folder, set[str]()

    def take(self, wanted: str) -> Path:
        stem, dot, suffix = re.sub(r"[^\w.+-]", "_", wanted).lstrip(".").rpartition(".")
        stem = stem[:_MAX_NAME] or "network"
        name, number = f"{stem}{dot}{suffix}", 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}{dot}{suffix}"
        self._taken.add(name.lower())
        return self._folder / name


def _stage(model: "ModelFile", stage: "Stage", stem: str, names: _FileNames) -> list[Path]:
    from stepdown.files.atomic import atomic_path, write_text

    written = []
    for stream in stage.streams:
        path = names.take(f"{stem}.{stream.engine[:_MAX_NAME].replace('.', '_')}.bin")
        with atomic_path(path) as temporary:
            temporary.write_bytes(model.sections[stream.section])
        written.append(path)
    written += _weights(model, stage.weights, names, f"{stem}_weight.npz")
    for index, subnet in enumerate(stage.subnets):
        if subnet.text:
            text = names.take(f"{stem}.subnet{index}.mlir")
            write_text(text, model.text(subnet.text))
            written += [text, *_weights(model, subnet.weights, names, f"{text.stem}_weight.npz")]
    return written


def _weights(model: "ModelFile", weights: "Sequence[Weight]", names: _FileNames, wanted: str) -> list[Path]:
    """Write weights by name, 16-bit floats as the float32 values that they are."""
    from stepdown.files.npz import NpzMetadata, TensorInfo, write_npz
    from stepdown.model.arrays import values

    if not weights:
        return []
    path = names.take(wanted)
    arrays = {weight.name: values(model.array(weight), weight.type) for weight in weights}
    write_npz(path, arrays, NpzMetadata({weight.name: TensorInfo(weight.type) for weight in weights}))
    return [path]
