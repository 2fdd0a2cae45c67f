"""Functions in TIR become an object file with a plain C interface, or C source: no TVM is needed to run either."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepdown.native.machine import Machine
from stepdown.native.tir import BF16_PAIRS

INSTRUCTIONS = {BF16_PAIRS: "llvm.x86.avx512bf16.dpbf16ps.512"}
"""By the function that stands for it, the intrinsic of LLVM."""
_BITS = {"int32_t": "float", "float": "int32_t", "int64_t": "double", "double": "int64_t"}
_REINTERPRETED = re.compile(r"\*\((\w+) \*\)\(&\(((?:\(\w+\))?[\w.+-]+)\)\)")
_ADDRESS = re.compile(r"\(&\((\w+\[\d+\])\)\)")
_HEADERS = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n#include <string.h>\n\n" + "".join(
    f"static inline {to} bits_{to}({source} from) {{\n    {to} made;\n"
    "    memcpy(&made, &from, sizeof made);\n    return made;\n}\n\n"
    for to, source in _BITS.items()
)
"""What every source begins with: functions that read the bits of a value as another type, as C allows it."""


def write_object(functions: Mapping[str, Any], machine: Machine, path: Path) -> None:
    """Compile functions into an object file; each is callable from C under its name."""
    _built(functions, machine).write_to_file(str(path), "o")


def assembly(functions: Mapping[str, Any], machine: Machine) -> str:
    """Return the machine code of functions as text."""
    return str(_built(functions, machine).inspect_source("asm"))


def c_source(functions: Mapping[str, Any], machine: Machine) -> str:
    """Return functions as C that any C99 compiler takes."""
    text = str(_built(functions, machine).inspect_source())
    text = re.sub(r"^(#include|#define TVM|// tvm target|void\* __tvm).*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r'#ifdef __cplusplus\nextern "C"\n#endif\n', "", text)
    text = re.sub(r"^TVM_DLL ", "", text, flags=re.MULTILINE)
    text = _REINTERPRETED.sub(r"bits_\1(\2)", text)
    return _HEADERS + _ADDRESS.sub(r"(void *)&\1", text)


def structural_hash(function: Any) -> int:
    """Return a number that functions of the same code share."""
    import tvm_ffi

    return int(tvm_ffi.structural_hash(function))


def same_code(a: Any, b: Any) -> bool:
    """Tell whether two functions do the same, whatever their names are called."""
    import tvm_ffi

    return bool(tvm_ffi.structural_equal(a, b))


def _built(functions: Mapping[str, Any], machine: Machine) -> Any:
    import tvm

    lowered = _lowered(tvm.IRModule(dict(functions)), machine)
    built = tvm.get_global_func(f"target.build.{machine.target.kind.name}")(lowered, machine.target)
    return _with_instructions(built) if machine.has_bf16_pairs else built


def _with_instructions(built: Any) -> Any:
    """Return a module of LLVM with instructions in place of the functions that stand for them.

    TVM has no code for the types of some instructions. Functions of integers stand for these until the module is text:
    LLVM reads the older declarations of its intrinsics, which were of integers, too.
    """
    from tvm.runtime import load_module

    text = str(built.inspect_source("ll"))
    if not any(name in text for name in INSTRUCTIONS):
        return built
    for name, intrinsic in INSTRUCTIONS.items():
        text = text.replace(f"@{name}(", f"@{intrinsic}(")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "functions.ll"
        source.write_text(text)
        return load_module(str(source))


def _lowered(module: Any, machine: Machine) -> Any:
    """Run TVM's passes down to what its code generators take.

    The passes that make packed functions, which need TVM's runtime, are left out, and so is the one that puts large
    local arrays on the heap.
    """
    from tvm import ir
    from tvm.tirx import transform

    passes = [
        transform.BindTarget(machine.target), transform.StmtSimplify(), transform.FlattenBuffer(),
        transform.BF16ComputeLegalize(), transform.NarrowDataType(32), transform.VectorizeLoop(_makes_vectors(machine)),
        transform.UnrollLoop(), transform.StmtSimplify(), transform.RemoveNoOp(), transform.CommonSubexprElim(),
        transform.BF16StorageLegalize(), transform.LowerIntrin(),
    ]  # fmt: skip
    return ir.transform.Sequential(passes)(module)


def _makes_vectors(machine: Machine) -> bool:
    """Tell whether loops over vectors become vectors here; else they stay loops, of C or of scalars."""
    return not machine.is_c and machine.effort.makes_vectors
