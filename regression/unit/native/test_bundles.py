"""Bundles: their files, what they need of a machine, and their bytes in programs here and on emulated processors."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from native.compiled import PORTABLE
from native.identity import Network, compared, network
from native.identity_networks import random_inputs
from native.identity_rows import EXAMPLES, ROWS, NotEmulated, Reference, metadata, run_row
from npu.test_networks import QUANTISED, calibrate, inputs, mnist, quantised
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.native.bundle import bundle_name, write_bundle
from stepdown.native.code import Code
from stepdown.native.effort import effort_of
from stepdown.native.machine import machine_of
from stepdown.native.passes.codegen import Codegen
from stepdown.npu.addresses.interval import Interval, live_set_bound
from stepdown.transforms.native_io import NativeIo

ARENAS = {"resnet8_cifar10": 32_768, "kws_dscnn": 16_000, "vww_mobilenetv1_025": 55_296, "ad_autoencoder": 768}
"""Bytes of the tensors of each network that are in use together."""
PROGRAMS = (
    "x86-64 bundle", "x86-64 AVX-512", "x86-64 VNNI", "C gcc -O0 bundle", "aarch64 A53", "riscv64 GC", "Cortex-M7",
)  # fmt: skip
NAMERS = {"x86_64": "nm", "aarch64": "aarch64-linux-gnu-nm", "riscv64": "riscv64-linux-gnu-nm",
          "cortex_m7": "arm-none-eabi-nm"}  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Program:
    program = mnist()
    calibrate(program, inputs(program))
    lowering("INT8", "bm1684x").run(program)
    return program


def made(program: Program, chip: str, path: Path, debug: bool = False) -> Path:
    """Write a bundle and return its code's path."""
    write_bundle(Code(program, machine_of(load_chip(chip)), bundle_name(path), debug, bundle=True), path, debug)
    return path


@pytest.mark.parametrize("name", QUANTISED)
def test_the_arena_of_a_microcontroller_is_the_live_set(name) -> None:
    program = quantised(name)
    NativeIo().run(program)
    code = Code(program, machine_of(load_chip("cortex_m7")), "net", bundle=True)
    lives = [Interval(place.bytes, *steps) for place, steps in code._steps().items()]
    assert code.mutable_bytes == live_set_bound(lives) == ARENAS[name]
    assert code.activations_bytes == 0


def test_sums_in_the_place_of_an_operand_take_a_third_less() -> None:
    program = quantised("resnet8_cifar10")
    NativeIo().run(program)
    arenas = [
        Code(program, machine_of(load_chip("cortex_m7"), effort=effort_of(level)), "net", bundle=True).mutable_bytes
        for level in (2, 3)
    ]
    assert arenas == [49_152, ARENAS["resnet8_cifar10"]]


def test_files_say_the_same(small, tmp_path: Path) -> None:
    path = made(small, "c", tmp_path / "net.c")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["net.c", "net.h", "net.weights.bin", "net.weights.txt"]
    content = (tmp_path / "net.weights.bin").read_bytes()
    listed = re.findall(r"0X([0-9A-F]{2}),", (tmp_path / "net.weights.txt").read_text())
    assert bytes(int(byte, 16) for byte in listed) == content
    text = (tmp_path / "net.h").read_text()
    sizes = {name: int(size) for name, size in re.findall(r"#define NET_(\w+_MEM_SIZE) (\d+)", text)}
    assert sizes["CONSTANT_MEM_SIZE"] == len(content)
    described = metadata(path.with_suffix(".h"))
    assert [t["role"] for t in described["tensors"]] == ["input", "output"]
    ends = [int(offset) + t["bytes"] for t, offset in zip(described["tensors"], _offsets(text), strict=True)]
    assert max(ends) <= sizes["MUTABLE_MEM_SIZE"]


def _offsets(text: str) -> list[str]:
    return re.findall(r"^    X\(.*, \w+, \w+, (\d+), \d+\)", text, re.MULTILINE)


@pytest.mark.parametrize("chip", ["cortex_m7", "c"])
def test_the_same_network_gives_the_same_files(chip, small, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made(small, chip, tmp_path / folder / ("net.c" if chip == "c" else "net.o"))
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("chip", NAMERS)
def test_code_calls_nothing_but_memcpy_and_memset(chip, tmp_path: Path) -> None:
    tool = shutil.which(NAMERS[chip])
    if tool is None:
        pytest.skip(f"needs {NAMERS[chip]}")
    program = quantised("kws_dscnn")
    NativeIo().run(program)
    path = made(program, chip, tmp_path / "net.o")
    listed = subprocess.run([tool, "-u", path], capture_output=True, text=True, check=True).stdout
    assert set(listed.split()) - {"U"} <= {"memcpy", "memset"}


def test_a_chip_without_a_system_gets_no_library(small, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="chip cortex_m7 has no system that loads a library; make a bundle"):
        Codegen(str(tmp_path / "net.so"), "cortex_m7").run(small)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_a_program_may_limit_the_arena(small, tmp_path: Path) -> None:
    made(small, "c", tmp_path / "net.c")
    source = tmp_path / "program.c"
    source.write_text('#include "net.h"\n')
    used = Code(small, PORTABLE, "net", bundle=True).mutable_bytes
    for standard in ("c99", "c11"):
        for limit, code in ((used, 0), (used - 1, 1)):
            command = ["gcc", f"-std={standard}", "-fsyntax-only", f"-DNET_ARENA_LIMIT={limit}", source]
            assert subprocess.run(command, capture_output=True, check=False).returncode == code, (standard, limit)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_examples_and_code_compile_as_strict_c99(small, tmp_path: Path) -> None:
    made(small, "c", tmp_path / "net.c")
    names = ["-DSD_NETWORK=net", "-DSD_UPPER=NET", f"-I{tmp_path}"]
    strict = [
        "gcc",
        "-std=c99",
        "-pedantic-errors",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused",
        "-Wno-unused-parameter",
    ]
    for source in (tmp_path / "net.c", EXAMPLES / "run_bundle.c"):
        ended = subprocess.run(
            [*strict, "-O2", *names, "-c", source, "-o", os.devnull], capture_output=True, text=True, check=False
        )
        assert not ended.returncode, ended.stderr


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name in PROGRAMS or row.is_simulator], ids=lambda row: row.name
)
def test_programs_give_the_bytes_of_the_reference(row, small, tmp_path: Path) -> None:
    if lacking := row.missing():
        pytest.skip(lacking)
    column = network("kws", tmp_path)
    given = random_inputs(column.module, 2)
    try:
        made = list(run_row(row, column.module, given))
    except NotEmulated as error:
        pytest.skip(str(error)[:200])
    (cell,) = compared(column, Reference().runs(column.module, given), [made])
    assert (cell.differing, cell.first) == (0, "")
    assert cell.tensors > 8


def test_a_wrong_byte_is_counted_and_named(tmp_path: Path) -> None:
    given = {"a": np.zeros((2, 3), np.int8), "b": np.ones(4, np.int8), "s": np.ones(2, np.float32)}
    wrong = given | {"b": np.array([1, 1, 2, 1], np.int8)}
    close = given | {"s": np.array([1, 1 + 1e-6], np.float32)}
    (same, apart, near) = compared(Network(tmp_path, frozenset("s")), [given], [[given], [wrong], [close]])
    assert (same.differing, same.first, same.bytes, same.tensors) == (0, "", 18, 3)
    assert (apart.differing, apart.first, near.differing) == (1, "b", 0)
    assert same.hashes["a"].digest() == apart.hashes["a"].digest()
    assert same.hashes["b"].digest() != apart.hashes["b"].digest()


def test_outputs_are_right_where_tensors_share_the_arena(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == "x86-64 bundle")
    if lacking := row.missing():
        pytest.skip(lacking)
    column = network("kws", tmp_path)
    given = random_inputs(column.module, 3)
    wanted = list(Reference().runs(column.module, given))
    got = list(run_row(row, column.module, given, debug=False))
    for reference, mine in zip(wanted, got, strict=True):
        assert len(mine) == 1
        assert all(np.array_equal(reference[name], array) for name, array in mine.items())


@pytest.mark.parametrize("name", ["1net.o", "my-net.o", "größe.o", ".o"])
def test_names_that_c_does_not_know_are_refused(name) -> None:
    with pytest.raises(InputError, match="cannot be the name of a function"):
        bundle_name(Path(name))


@pytest.mark.parametrize(("chip", "file"), [("c", "net.o"), ("x86_64", "net.c"), ("cortex_m7", "net.bin")])
def test_endings_that_mean_nothing_for_a_chip_are_refused(chip, file, small, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"chip {chip}"):
        Codegen(str(tmp_path / file), chip).run(small)
