"""What the tools of diagnosis share: samples from the command line, progress, and a check of what they write."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    import argparse

    from stepdown.chips import Chip
    from stepdown.data.dataset import Dataset
    from stepdown.data.preprocess import Preprocess
    from stepdown.dialects.program import Program
    from stepdown.transforms.import_calibration_table import Row

_TELL_EVERY_S = 5.0


class Told:
    """Tells on stderr how far a run is: one line that changes on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        """Tell it, where enough time has passed."""
        now = time.monotonic()
        if sys.stderr.isatty():
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
        elif now - self._last >= _TELL_EVERY_S:
            self._last = now
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line that changes."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def samples_of(program: "Program", files: Sequence[str | Path]) -> "Dataset":
    """Return the samples in some files, one each: npz with every input, npy, or photos.

    Raises:
        InputError: there is no file, one does not exist, or a photo where the program stores no preprocessing.
    """
    from stepdown.cli.test_inputs import check_files
    from stepdown.data.dataset import Dataset

    names = [str(file) for file in files]
    if not names:
        raise InputError("names no file", "--input", "give a.npz or a.npz,b.npz")
    check_files(names)
    paths = tuple(Path(name) for name in names)
    return Dataset(paths, _preprocessing(program, paths))


def _preprocessing(program: "Program", paths: "Sequence[Path]") -> "dict[str, Preprocess]":
    """Return, by input name, how files become inputs."""
    from stepdown.data.image import is_image
    from stepdown.data.preprocess import Preprocess
    from stepdown.dialects.program import argument_name
    from stepdown.dialects.types import shape_of

    known, photo = program.preprocessing, next((path for path in paths if is_image(path)), None)
    shapes = {argument_name(op): shape_of(op.results[0]) for op in program.input_ops}
    unknown = next((name for name in shapes if name not in known), None)
    if photo is not None and unknown is not None:
        fix = "run model_transform.py with --resize_dims, --mean, --scale and --pixel_format, or give .npz files"
        raise InputError(f"holds no preprocessing for '{unknown}', so it cannot take {photo.name}", program.path, fix)
    plain = {"channel_format": "none"}
    return {name: Preprocess.from_attributes(known.get(name, plain), shape) for name, shape in shapes.items()}


def listed(text: str) -> list[str]:
    """Return the words between commas."""
    return [word for word in text.split(",") if word]


def check_written(written: dict[str, str | None], read: Sequence[str | Path]) -> None:
    """Check that files to write do not replace files that are read, nor each other, and that their folders exist.

    Raises:
        InputError: one would, or its folder is missing; says which option.
    """
    taken = {Path(path).resolve(): "is being read" for path in read}
    for option, name in written.items():
        if not name:
            continue
        path = Path(name).resolve()
        if path in taken:
            raise InputError(f"would overwrite {name}, which {taken[path]}", option, "give another name")
        if not path.parent.is_dir():
            raise InputError("the folder to write into does not exist", str(path.parent), "create it first")
        taken[path] = f"{option} writes too"


def files_of(program: "Program") -> list[Path]:
    """Return the files that a program was read from."""
    path = Path(program.path)
    return [path, *([path.with_name(Path(program["weight_file"]).name)] if program["weight_file"] else [])]


def db(value: float) -> str:
    """Return a ratio in dB as text: `exact` where there is no noise."""
    return "exact" if value == math.inf else f"{value:.2f}"


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None where it is infinite."""
    return round(value, 6) if math.isfinite(value) else None


def add_lowering_flags(tool: "argparse.ArgumentParser", input_num: int) -> None:
    """Add what tools that lower a float module on samples have in common."""
    tool.add_argument("model", metavar="TOP.mlir", help="the float module, as model_transform.py wrote it")
    source = tool.add_mutually_exclusive_group(required=True)
    source.add_argument("--data_list", metavar="LIST", help="text file that names photos or .npz files, one a line")
    source.add_argument("--dataset", metavar="DIR", help="folder, from which --input_num files are chosen at random")
    tool.add_argument(
        "--input_num",
        type=int,
        default=input_num,
        metavar="N",
        help=f"how many samples, 0 is all (default {input_num})",
    )
    tool.add_argument("--seed", type=int, default=0, help="of the choice from --dataset (default 0)")
    tool.add_argument("--calibration_table", required=True, metavar="TABLE", help="what run_calibration.py wrote")
    tool.add_argument("--chip", required=True, help="name of a chip, or the path of its .toml")
    tool.add_argument("--asymmetric", action="store_true", help="INT8 activations may have a zero point")


def checked_table(args: "argparse.Namespace", program: "Program") -> "dict[str, Row]":
    """Return the rows of --calibration_table.

    Raises:
        InputError: it cannot be read, or lacks a tensor of the program.
    """
    from stepdown.calibration.table import read_table
    from stepdown.diagnosis.relower import duplicate
    from stepdown.transforms.import_calibration_table import ImportCalibrationTable

    ImportCalibrationTable(args.calibration_table, args.asymmetric).run(duplicate(program))
    return read_table(args.calibration_table)


def selected_samples(args: "argparse.Namespace", program: "Program") -> "Dataset":
    """Return the samples that --data_list or --dataset asks for."""
    from stepdown.data.dataset import select_files

    if args.input_num < 0:
        raise InputError(f"{args.input_num} is negative", "--input_num", "give how many samples, or 0 for all")
    return samples_of(program, select_files(args.data_list, args.dataset, args.input_num, args.seed))


def checked_modes(text: str, chip: "Chip") -> list[str]:
    """Return the modes that a user names, or INT8, the best 16-bit one and F32.

    Raises:
        InputError: the chip lacks one of them, or cannot do INT8.
    """
    best = next((mode for mode in ("F16", "BF16") if mode in chip.op_modes), "F32")
    modes = listed(text) or list(dict.fromkeys(["INT8", best, "F32"]))
    for mode in modes:
        if mode not in chip.op_modes:
            raise InputError(f"chip {chip.name} has no mode {mode}", "--modes", f"choose {', '.join(chip.op_modes)}")
    if "INT8" not in modes:
        raise InputError("does not name INT8", "--modes", "name the modes to choose from, INT8 among them")
    return modes
