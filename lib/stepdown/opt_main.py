"""What tpuc-opt does: finds passes by name, runs them in order, reads and writes the module.

A pass is found by its file: `transforms/shape_infer.py` holds `class ShapeInfer(Pass)`, or one made from a class whose
name ends in `Pass`. Files are read, not imported, to list them; only the passes asked for are imported.
"""

import ast
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.dialects.program import Program
    from stepdown.transforms.base import Pass

FOLDERS = ("transforms", "correction/passes", "npu/passes", "native/passes")
STDIN = "-"


@dataclass(frozen=True)
class PassEntry:
    """A pass as its source text shows it."""

    name: str
    module: str
    class_name: str
    summary: str
    options: tuple[str, ...]
    """Each as `name=true|false` or `name=…`."""

    def load(self) -> "type[Pass]":
        """Import the pass."""
        return getattr(importlib.import_module(self.module), self.class_name)


@cache
def pass_table() -> dict[str, PassEntry]:
    """Return every pass by its name on the command line."""
    root = Path(__file__).parent
    files = [file for folder in FOLDERS for file in sorted((root / folder).glob("*.py"))]
    entries = [_entry(file, ".".join(["stepdown", *file.relative_to(root).with_suffix("").parts])) for file in files]
    return {entry.name: entry for entry in entries if entry}


def _entry(file: Path, module: str) -> PassEntry | None:
    """Return the pass that a file holds: the class named as the file."""
    wanted = file.stem.replace("_", "")
    text = file.read_text(encoding="utf-8")
    if "Pass)" not in text:
        return None
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == wanted:
            summary = (ast.get_docstring(node) or "").split("\n")[0]
            options = (*_inherited(tree, node), *_options(node))
            return PassEntry(file.stem.replace("_", "-"), module, node.name, summary, options)
    return None


def _inherited(tree: ast.Module, node: ast.ClassDef) -> tuple[str, ...]:
    """Return the options of the class that a pass is made from, read in the file that it is imported from."""
    base = ast.unparse(node.bases[0])
    for found in tree.body:
        if isinstance(found, ast.ImportFrom) and found.module and base in [alias.name for alias in found.names]:
            file = Path(__file__).parent.parent.joinpath(*found.module.split(".")).with_suffix(".py")
            above = ast.parse(file.read_text(encoding="utf-8"))
            (declared,) = (n for n in above.body if isinstance(n, ast.ClassDef) and n.name == base)
            return (*_inherited(above, declared), *_options(declared)) if declared.bases else ()
    return ()


def _options(node: ast.ClassDef) -> tuple[str, ...]:
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    shown = [(f.target.id, ast.unparse(f.annotation)) for f in fields if isinstance(f.target, ast.Name)]
    return tuple(f"{n}={'true|false' if t == 'bool' else '…'}" for n, t in shown if not t.startswith("ClassVar"))


# --- running


@dataclass(frozen=True)
class Watch:
    """What is told on stderr while passes run."""

    print_after: bool = False
    timing: bool = False

    def note(self, what: str, seconds: float, stream: TextIO = sys.stderr) -> None:
        """Tell how long a step took, where that was asked for."""
        if self.timing:
            print(f"{seconds * 1e3:10.1f} ms  {what}", file=stream)


def make_passes(asked: Sequence[tuple[str, str]]) -> "list[Pass]":
    """Return the passes for (name, options) pairs.

    Raises:
        InputError: an option or a value is wrong.
    """
    return [pass_table()[name].load().from_text(text) for name, text in asked]


def run_passes(program: "Program", passes: "Sequence[Pass]", watch: Watch) -> None:
    """Run passes in order; every one verifies its result.

    Raises:
        InputError: the program is not what a pass wants.
    """
    from xdsl.utils.exceptions import VerifyException

    from stepdown.dialects.text import print_module

    for step in passes:
        start = time.perf_counter()
        try:
            step.run(program)
        except VerifyException as error:
            raise InputError(f"--{step.pass_name()}: {error}", program.path) from None
        watch.note(f"--{step.pass_name()}", time.perf_counter() - start)
        if watch.print_after:
            print(f"// after --{step.pass_name()}\n{print_module(program.module)}", file=sys.stderr)


def read(path: str) -> "Program":
    """Read a program from a file, or from stdin, whose weight file lies in the working folder."""
    from stepdown.dialects.program import Program, Weights, check_weights, read_program
    from stepdown.dialects.text import parse_module
    from stepdown.files.npz import NpzFile

    if path != STDIN:
        return read_program(path)
    program = Program(parse_module(sys.stdin.read(), "<stdin>"), Weights(), "<stdin>")
    if program["weight_file"]:
        program.weights = Weights(NpzFile(Path(program["weight_file"]).name))
    check_weights(program)
    return program


def check_target(program: "Program", source: str, target: str) -> None:
    """Check that writing `target` leaves the input and its weight file as they are.

    Raises:
        InputError: it would overwrite one of them, or is no name of a module.
    """
    output = Path(target)
    if output.suffix != ".mlir":
        raise InputError(f"'{target}' is no name of a module", "-o", "end it in .mlir")
    folder = Path() if source == STDIN else Path(source).parent
    read_files = [Path(source)] if source != STDIN else []
    if program["weight_file"]:
        read_files.append(folder / Path(program["weight_file"]).name)
    for written in (output, output.with_name(f"{output.stem}_weight.npz")):
        if any(written.resolve() == file.resolve() for file in read_files):
            raise InputError(f"would overwrite {written}, which is being read", "-o", "give another name")
