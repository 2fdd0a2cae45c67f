"""Opening any kind of model file as an outline (model_tool.py): a row of `KINDS` a format."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stepdown.errors import InputError, StepError

if TYPE_CHECKING:
    from stepdown.dialects.program import Program
    from stepdown.formats.outline import Outline

T = TypeVar("T")
Shapes = Sequence[tuple[int, ...]]


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


def _onnx_program(path: str, shapes: Shapes) -> "Program":
    """Import as model_transform.py does, without writing anything."""
    from stepdown.formats.onnx.importer import import_model
    from stepdown.formats.onnx.loader import bind_input_shapes, load_onnx
    from stepdown.formats.onnx.simplify import Simplification
    from stepdown.transforms.canonicalize import Canonicalize

    with Simplification(path, shapes) as child:
        source = load_onnx(path)
        if shapes:
            bind_input_shapes(source, shapes)
        model, problem = child.result(source)
    if problem:
        print(f"not simplified: {problem}; going on with the graph as it is", file=sys.stderr)
    program = import_model(model, Path(path).stem)
    Canonicalize().run(program)
    return program


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
    ".onnx": Kind("ONNX model", _onnx_outline, _onnx_program),
    ".mlir": Kind("MLIR module", _mlir_outline, _mlir_program),
}
