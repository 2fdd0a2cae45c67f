"""Programs compiled and run beside the reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.native import link
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import OPT_LEVELS, Machine, machine_of
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import Tensors

pytest.importorskip("tvm", reason="needs TVM: bash build.sh --native")

FLOAT_BOUND = 1e-6
"""Of results in f32: e^x is a polynomial of our own, and sums have another order."""
PORTABLE = machine_of(load_chip("c"))


class Machines(dict[str, Machine]):
    """What this computer can run, by name; a test that asks for another is skipped."""

    def __missing__(self, name: str) -> Machine:
        pytest.skip(f"this processor runs no code for {name}")


def machines() -> Machines:
    """Return what this computer can run: C source, and code for each kind of instructions that it has."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    chip = load_chip("x86_64")
    levels = {"x86-64": "sse2", "x86-64-v3": "avx2", "cascadelake": "avx512_vnni"}
    return Machines(c=PORTABLE, **{level: machine_of(chip, level) for level, flag in levels.items() if flag in flags})


def small(machine: Machine) -> Machine:
    """Return the same processor with little memory beside tensors, so that rows are copied piece by piece."""
    return replace(machine, scratch_bytes=600)


def compiled(
    program: Program, machine: Machine, folder: Path, debug: bool = True, optimise: bool = False
) -> NativeRunner:
    """Return a program's library, opened; unless asked for, compilers do not optimise, which takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        if not optimise:
            assert "-O2" in link._SHARED
            patch.setattr(link, "_SHARED", tuple("-O0" if flag == "-O2" else flag for flag in link._SHARED))
            patch.setitem(OPT_LEVELS, True, 0)
        write_library(Code(program, replace(machine), "net", keep_all=debug), folder / "net.so", debug)
    return NativeRunner(folder / "net.so")


def differing(
    program: Program, given: Tensors, machine: Machine, folder: Path, optimise: bool = False
) -> dict[str, int]:
    """Return by tensor how many bytes differ from the reference's."""
    runner = compiled(program, machine, folder, optimise=optimise)
    try:
        got, wanted = runner.run(given, "all"), MlirRunner(program).run(given, "all")
    finally:
        runner.close()
    assert set(program.output_names) <= got.keys() and len(got) > 1
    counts = {name: bytes_apart(got[name], wanted[name]) for name in got if name in wanted}
    return {name: count for name, count in counts.items() if count}


def bytes_apart(mine: np.ndarray, other: np.ndarray) -> int:
    """Return how many bytes differ; of reals, how many values differ by more than their bound."""
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    if mine.dtype.kind == "f":
        return int((~np.isclose(mine, other, rtol=FLOAT_BOUND, atol=0)).sum())
    mine, other = np.ascontiguousarray(mine), np.ascontiguousarray(other)
    return int((mine.reshape(-1).view(np.uint8) != other.reshape(-1).view(np.uint8)).sum())
