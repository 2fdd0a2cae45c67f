"""Opening any kind of model file as an outline (model_tool.py): a row of `KINDS` a format."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from stepdown.errors import InputError, StepError

if TYPE_CHECKING:
    from stepdown.dialects.program import Program
    from stepdown.formats.outline import Outline

T = TypeVar("T")
Shapes = Sequence[tuple[int, ...]]
MODEL_FILE_SUFFIX = ".bmodel"


@dataclass(frozen=True)
class Kind:
    """A kind of model file: what people call it, its outline, and the TOP program that it means."""

    name: str
    outline: "Callable[[str, Shapes], Outline]"
    program: "Callable[[str, Shapes], Program]"


def kind_of(path: str) -> Kind:
    """Return the kind of a model file.

    Raises:
        InputError: no such file, or a suffix that is none of a model.
    """
    check_file(path)
    kind = KINDS.get(Path(path).suffix)
    if path.endswith(MODEL_FILE_SUFFIX):
        raise InputError("holds commands and no graph", path, "give the .mlir file that it was made from")
    if kind is None:
        raise InputError("not a model we read", path, f"give a file ending in {', '.join(KINDS)}")
    return kind


def check_file(path: str) -> None:
    """Raise InputError where there is no such file."""
    if not os.path.isfile(path):
        raise InputError("is a directory" if os.path.isdir(path) else "no such file", path)


def open_outline(path: str, shapes: Shapes = ()) -> "Outline":
    """Return the outline of a model file; errors name the file."""
    kind = kind_of(path)
    return located(path, lambda: kind.outline(path, shapes))


def open_program(path: str, shapes: Shapes = ()) -> "Program":
    """Return the program that a model file means; errors name the file."""
    kind = kind_of(path)
    return located(path, lambda: kind.program(path, shapes))


def located(path: str, work: Callable[[], T]) -> T:
    """Return what `work` does; an error of it that does not name the file is told with it."""
    try:
        return work()
    except StepError as error:
        if path in error.where or error.where.startswith("--"):
            raise
        raise type(error)(error.what, ": ".join(filter(None, [path, error.where])), error.fix) from error
    except RecursionError:
        raise InputError("is nested too deeply", path) from None


def _onnx_outline(path: str, shapes: Shapes) -> "Outline":
    from stepdown.formats.onnx.loader import bind_input_shapes, load_onnx
    from stepdown.formats.onnx.outline import outline_of_onnx

    model = load_onnx(path)
    if shapes:
        bind_input_shapes(model, shapes)
    return outline_of_onnx(model)


def imported(path: str, shapes: Shapes) -> "Program":
    """Import a model of any format as model_transform.py does by default, without leaving a file."""
    from stepdown.cli import model_transform
    from stepdown.cli.import_source import finish_program, open_source

    name = Path(path).stem
    flags = model_transform.parser().parse_args(["--model_name", name, "--model_def", path, "--mlir", f"{name}.mlir"])
    flags.input_shapes = list(shapes)
    if path.endswith(".prototxt"):
        flags.model_data = beside(path, ".caffemodel")
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), open_source(flags) as source:
        source.prepare(Path(folder) / "prepared")
        program = _with_weights(path, lambda: source.program(name, {}))
        finish_program(program)
    return program


def _with_weights(path: str, work: Callable[[], T]) -> T:
    """Return what `work` does; where the weights of a net are missing, tell where they are looked for."""
    try:
        return work()
    except InputError as error:
        if "--model_data" not in error.fix:
            raise
        raise InputError(
            error.what, error.where, f"put its weights beside it, as {Path(path).stem}.caffemodel"
        ) from error


def beside(path: str, suffix: str) -> str:
    """Return the file with `suffix` that belongs to `path`: of the same name, or the only one there; '' for none."""
    same = Path(path).with_suffix(suffix)
    if same.is_file():
        return str(same)
    others = sorted(Path(path).parent.glob(f"*{suffix}"))
    return str(others[0]) if len(others) == 1 else ""


def _net_of(path: str) -> str:
    """Return the net that a caffemodel has the weights of."""
    net = beside(path, ".prototxt")
    if not net:
        raise InputError("holds weights only", path, f"put its net beside it, as {Path(path).stem}.prototxt")
    return net


def imported_outline(path: str, shapes: Shapes) -> "Outline":
    """Return the outline of the program that a model is imported as."""
    from stepdown.formats.program_outline import outline_of_program

    return outline_of_program(imported(path, shapes))


def _tflite_outline(path: str, shapes: Shapes) -> "Outline":
    """Return the operators as they are; with other shapes than the file states, those of the imported module."""
    if shapes:
        return imported_outline(path, shapes)
    from stepdown.formats.tflite.loader import load_tflite
    from stepdown.formats.tflite.outline import outline_of_tflite

    return outline_of_tflite(load_tflite(path))


def _mlir_outline(path: str, shapes: Shapes) -> "Outline":
    from stepdown.formats.program_outline import outline_of_program

    return outline_of_program(_mlir_program(path, shapes))


def _mlir_program(path: str, shapes: Shapes) -> "Program":
    from stepdown.dialects.program import read_program

    _refuse_shapes(path, shapes)
    return read_program(path)


def _refuse_shapes(path: str, shapes: Shapes) -> None:
    if shapes:
        raise InputError("its shapes are fixed", path, "drop --input_shapes")


KINDS = {
    ".onnx": Kind("ONNX model", _onnx_outline, imported),
    ".prototxt": Kind("Caffe net", imported_outline, imported),
    ".caffemodel": Kind(
        "Caffe weights with their net",
        lambda path, shapes: imported_outline(_net_of(path), shapes),
        lambda path, shapes: imported(_net_of(path), shapes),
    ),
    ".tflite": Kind("TFLite model", _tflite_outline, imported),
    ".mlir": Kind("MLIR module", _mlir_outline, _mlir_program),
}
