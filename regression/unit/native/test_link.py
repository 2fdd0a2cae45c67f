"""Linking by the compiler in the package ziglang, where there is no other one: here, and for other processors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from native.compiled import PORTABLE
from npu.test_networks import quantised

from stepdown.chips import load_chip
from stepdown.errors import UnsupportedModel
from stepdown.native import link
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import Machine, machine_of
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner

ELF_NUMBERS = {"x86_64": 62, "aarch64": 183, "riscv64": 243}


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without gcc, cc or clang."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


def linked(machine: Machine, folder: Path) -> Path:
    write_library(Code(quantised("ad_autoencoder"), machine, "net", keep_all=True), folder / "net.so", debug=True)
    return folder / "net.so"


@pytest.mark.slow
@pytest.mark.parametrize("chip", ELF_NUMBERS)
def test_libraries_for_other_processors_need_no_other_compiler(chip, no_compiler, tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="needs ziglang: bash build.sh --zig")
    begin = linked(machine_of(load_chip(chip)), tmp_path).read_bytes()[:20]
    assert (begin[:4], int.from_bytes(begin[18:20], "little")) == (b"\x7fELF", ELF_NUMBERS[chip])


@pytest.mark.slow
def test_c_is_compiled_for_any_processor_of_this_kind(no_compiler, tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="needs ziglang: bash build.sh --zig")
    runner, program = NativeRunner(linked(PORTABLE, tmp_path)), quantised("ad_autoencoder")
    reference = MlirRunner(program)
    given = {spec.name: _ramp(spec.shape, spec.info.type) for spec in reference.inputs()}
    made, wanted = runner.run(given, "all"), reference.run(given, "all")
    runner.close()
    assert len(made) > 5
    assert [name for name in made if name in wanted and made[name].tobytes() != wanted[name].tobytes()] == []


def _ramp(shape: tuple[int, ...], kind: str) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 251 - 125).astype({"i8": "i1", "f32": "f4"}[kind])


def test_without_any_compiler_it_is_said_what_to_install(no_compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedModel, match=r"no C compiler .* riscv64-linux-gnu-gcc, or bash build.sh --zig"):
        link.compiler("riscv64-linux-gnu")
