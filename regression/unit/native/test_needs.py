"""What code needs of a processor is asked of it before anything runs."""

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from native.compiled import compiled
from npu.test_networks import calibrate, inputs, mnist
from targets import lowering

from stepdown.chips import load_chip
from stepdown.errors import InputError
from stepdown.native.library import RUNTIME
from stepdown.native.machine import machine_of
from stepdown.native.needs import Need, needs_of

CPUINFO = Path("/proc/cpuinfo")
OTHER_NAMES = {
    "sse3": "pni", "lzcnt": "abm", "bmi": "bmi1", "avxvnni": "avx_vnni", "sse4.1": "sse4_1", "sse4.2": "sse4_2",
    **{f"avx512{name}": f"avx512_{name}" for name in ("vnni", "bf16", "fp16", "vbmi2", "bitalg", "vpopcntdq")},
}  # fmt: skip
"""What Linux calls features that LLVM calls otherwise."""
NEWEST = ("sapphirerapids", "bdver4", "znver3")
"""Processors that need between them all features of the table."""


def needs(processor: str, features: str = "") -> list[Need]:
    return needs_of(machine_of(load_chip("x86_64"), processor, features))


def test_newer_processors_need_more() -> None:
    names = [{need.name for need in needs(p)} for p in ("x86-64", "x86-64-v3", "skylake-avx512", "cascadelake")]
    assert names[0] == set() and {"avx2", "fma"} < names[1] < names[2]
    assert names[3] - names[2] == {"avx512vnni"}


def test_features_of_ones_own_are_needed_too() -> None:
    assert [need.name for need in needs("x86-64", "+sse4.1")] == ["sse3", "ssse3", "sse4.1"]
    assert "sse4a" in {need.name for need in needs("bdver4")}
    aarch64 = machine_of(load_chip("aarch64"), features="+neon,+sve,+sve2")
    assert {need.name for need in needs_of(aarch64)} >= {"sve", "sve2"}
    riscv = machine_of(load_chip("riscv64"), features="+m,+a,+f,+d,+c,+v")
    assert [need.name for need in needs_of(riscv)] == ["v"]
    assert needs_of(machine_of(load_chip("c"))) == []


@pytest.mark.skipif(platform.machine() != "x86_64" or not CPUINFO.exists(), reason="asks Linux on x86-64")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_processor_answers_as_linux_does(tmp_path: Path) -> None:
    asked = list({need.name: need for processor in NEWEST for need in needs(processor)}.values())
    rows = "\n".join(need.row() for need in asked)
    code = f'#include "processor.h"\nstatic const struct need needs[] = {{\n{rows}\n}};\n'
    (tmp_path / "ask.c").write_text(code + "int has_feature(int at) { return has(&needs[at]); }\n")
    command = ["gcc", "-shared", "-fPIC", f"-I{RUNTIME}", "-o", tmp_path / "ask.so", tmp_path / "ask.c"]
    subprocess.run(command, check=True, timeout=60)
    library = ctypes.CDLL(str(tmp_path / "ask.so"))
    found = {need.name for at, need in enumerate(asked) if library.has_feature(at)}
    flags = set(CPUINFO.read_text().split())
    assert found == {need.name for need in asked if OTHER_NAMES.get(need.name, need.name) in flags}


@pytest.mark.skipif("fma4" in (CPUINFO.read_text() if CPUINFO.exists() else ""), reason="this processor has fma4")
def test_a_library_for_another_processor_does_not_run(tmp_path: Path) -> None:
    program = mnist()
    calibrate(program, inputs(program))
    lowering("INT8", "x86_64").run(program)
    with pytest.raises(InputError, match=r"is code for bdver4, and this processor has no (xop|fma4); name this one"):
        compiled(program, machine_of(load_chip("x86_64"), "bdver4"), tmp_path)
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    library.sd_create.restype = ctypes.c_void_p
    assert library.sd_create() is None
