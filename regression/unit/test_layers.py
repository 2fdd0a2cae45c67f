"""Modules import only downwards, heavy packages only where they belong, and chips are data."""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from checkout import PACKAGE, modules, run, tools

# fmt: off
LAYERS = [
    "errors", "files", "numerics", "chips", "dialects", "transforms", "formats", "model", "npu", "sim", "native",
    "runtimes", "data", "compare", "perf", "distributed", "evaluation", "calibration", "correction", "diagnosis", "cli",
]
# fmt: on
RANK = {name: rank for rank, name in enumerate(LAYERS)} | {"opt_main": LAYERS.index("cli")}

# The simulator reads the model file alone, so that it cannot share a mistake with the compiler.
SIM_IMPORTS = ("errors", "files", "numerics", "chips", "model", "npu.isa", "npu.cost", "sim")

# Loaded only when used, and only here: they are slow to import, optional, or may abort the process.
HOMES = {
    **dict.fromkeys(["onnx", "onnxruntime", "onnxsim", "tflite", "ai_edge_litert"], ("formats", "runtimes")),
    **dict.fromkeys(["tvm", "tvm_ffi"], ("native",)),
    **dict.fromkeys(["dask", "distributed"], ("distributed",)),
}
HEAVY = ("numpy", "xdsl", *HOMES)


def layer(path: Path) -> str:
    """Return the folder (or module) right under the package in which a file lies."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def imports(path: Path) -> list[tuple[str, int, bool]]:
    """Return every imported module of a file, its line, and whether it is imported when the file is."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    for node, at_once in _statements(ast.parse(path.read_text(), str(path)), True):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import; write stepdown.… in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, node.lineno, at_once


def _statements(node: ast.AST, at_once: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Return all statements below a node, and whether each is executed when the file is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr | ast.arguments):
            continue
        yield child, at_once
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _statements(child, at_once and not is_function and not is_for_types)


def _inside(path: Path) -> list[tuple[str, int]]:
    """Return what a file imports of our package, without the leading `stepdown.`."""
    return [(name.removeprefix("stepdown."), line) for name, line, _ in imports(path) if name.startswith("stepdown.")]


FILES = [path for path in modules() if path != PACKAGE / "__init__.py"]


def test_every_module_has_a_layer() -> None:
    assert not [str(path) for path in FILES if layer(path) not in RANK]


def test_modules_import_downwards() -> None:
    upwards = [
        f"{path}:{line}: {layer(path)} imports stepdown.{name}"
        for path in FILES
        for name, line in _inside(path)
        if RANK.get(name.split(".")[0], -1) > RANK[layer(path)]
    ]
    assert not upwards, "\n".join(upwards)


def test_the_simulator_reads_the_model_file_alone() -> None:
    foreign = [
        f"{path}:{line}: imports stepdown.{name}"
        for path in FILES
        if layer(path) == "sim"
        for name, line in _inside(path)
        if not f"{name}.".startswith(tuple(f"{allowed}." for allowed in SIM_IMPORTS))
    ]
    assert not foreign, "\n".join(foreign)


def test_heavy_packages_stay_at_home_and_inside_functions() -> None:
    wrong = []
    for path in FILES:
        for name, line, at_once in imports(path):
            homes = HOMES.get(name.split(".")[0])
            if homes and layer(path) not in homes:
                wrong.append(f"{path}:{line}: {name} is imported outside {' and '.join(homes)}")
            elif homes and at_once:
                wrong.append(
                    f"{path}:{line}: {name} is imported with the module; import it in the function that uses it"
                )
    assert not wrong, "\n".join(wrong)


def chip_names_in(source: str, chips: list[str]) -> Iterator[tuple[int, str]]:
    """Yield line and token wherever code names a chip: as (part of) a name, or as a whole string.

    A chip inside a longer string is an example in a help text or a docstring, which may name one.
    """
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        named = token.type == tokenize.NAME and any(chip in token.string for chip in chips)
        if named or (token.type == tokenize.STRING and token.string.strip("rbuRBU'\"") in chips):
            yield token.start[0], token.string


def test_no_chip_is_named_outside_the_chips() -> None:
    chips = [path.stem for path in PACKAGE.glob("chips/*.toml") if len(path.stem) > 1]  # c is a kind and a language too
    named = [
        f"{path}:{line}: names the chip {token}; ask the chip for a property instead"
        for path in FILES
        if layer(path) != "chips"
        for line, token in chip_names_in(path.read_text(), chips)
    ]
    assert not named, "\n".join(named)


def test_chip_names_are_found_in_code_and_not_in_help() -> None:
    source = 'if chip.name == "k9":\n    lower_k9()\nEXAMPLE = "--chip k9"\n'
    assert [line for line, _ in chip_names_in(source, ["k9"])] == [1, 2]


# Runs each tool's --help in a fork of one interpreter, and prints the heavy packages that it imported.
HELP_IMPORTS = """
import os, runpy, sys
heavy = set(sys.argv[1].split(","))
for tool in sys.argv[2:]:
    if os.fork() == 0:
        sys.argv = [tool, "--help"]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            runpy.run_path(tool, run_name="__main__")
        except SystemExit:
            pass
        for name in sorted(heavy & set(sys.modules)):
            os.write(2, f"{tool} --help imports {name}\\n".encode())
        os._exit(0)
    os.wait()
"""


def test_help_imports_nothing_heavy() -> None:
    light = [tool for tool in tools() if tool.name != "tpuc-opt"]  # its flags are its passes
    if not light:
        pytest.skip("there are no tools yet")
    ended = run(sys.executable, "-c", HELP_IMPORTS, ",".join(HEAVY), *light)
    assert ended.stderr == ""
