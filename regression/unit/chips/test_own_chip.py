"""A user's own chip, by the path of its TOML: the tools take it as one of the package, which is not touched."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import PACKAGE, REGRESSION, ROOT, run

from stepdown.chips import chip_names, load_chip
from stepdown.dialects.program import read_program
from stepdown.dialects.types import quant_of
from stepdown.files.hashes import sha256_file
from stepdown.files.npz import read_npz

MODEL = REGRESSION / "model" / "mnist_cnn.onnx"


def tool(name: str, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool; it must succeed."""
    ended = run(ROOT / "tools" / name, *words, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a network, its calibration table, an input, and a chip of the user's own."""
    folder: Path = tmp_path_factory.mktemp("own")
    words = ["--model_name", "n", "--model_def", MODEL, "--mean", "33.3285", "--scale", "0.012728"]
    tool("model_transform.py", *words, "--mlir", "n.mlir", cwd=folder)
    tool("run_calibration.py", "n.mlir", "--dataset", REGRESSION / "image", "--input_num", "2", "-o", "t", cwd=folder)
    photo = REGRESSION / "image" / "cat.jpg"
    tool("prepare_input.py", "--model", "n.mlir", "--input", photo, "--output", "x.npz", cwd=folder)
    (folder / "my chips").mkdir()
    systolic = next(chip for chip in map(load_chip, chip_names()) if chip.engine == "systolic")
    mine = replace(systolic, name="mine", array_rows=32, array_columns=32, channels_per_scale=32,
                   macs_per_cycle={"INT8": 1024})  # fmt: skip
    (folder / "my chips" / "mine.toml").write_text(mine.to_toml())
    return folder


def package_hashes() -> dict[str, str]:
    return {str(path): sha256_file(path) for path in PACKAGE.rglob("*.toml")}


def test_deploying_for_it_lowers_runs_and_compares(folder: Path) -> None:
    before = package_hashes()
    words = ["--mlir", "n.mlir", "--quantize", "INT8", "--calibration_table", "t", "--test_input", "x.npz"]
    ended = tool("model_deploy.py", *words, "--chip", folder / "my chips" / "mine.toml", cwd=folder)
    assert "npz compare PASSED." in ended.stdout and "wrote n_int8_sym_mine.mlir" in ended.stdout
    program = read_program(folder / "n_int8_sym_mine.mlir")
    assert (program["chip"], program["profile"], program["mode"]) == ("mine", "float_scale", "INT8")
    made = [params for op in program.ops if op.results and (params := quant_of(op.results[0]))]
    assert made and {params.type for params in made} == {"i8"}
    assert package_hashes() == before


def test_a_relative_path_does_in_a_pass(folder: Path) -> None:
    lowering = "--convert-top-to-tpu=mode=INT8 chip='my chips/mine.toml'"
    table = "--import-calibration-table=file=t asymmetric=false"
    tool("tpuc-opt", "n.mlir", table, lowering, "-o", "again.mlir", cwd=folder)
    tool("model_runner.py", "--model", "again.mlir", "--input", "x.npz", "--output", "y.npz", cwd=folder)
    assert read_npz(folder / "y.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mode=INT8 asymmetric=true", "chip mine has no zero points; choose asymmetric=false"),
        ("mode=BF16", "chip mine has no mode BF16; choose INT8"),
    ],
)
def test_what_it_lacks_is_refused_by_its_own_name(folder: Path, options: str, message: str) -> None:
    lowering = f"--convert-top-to-tpu={options} chip='my chips/mine.toml'"
    ended = run(ROOT / "tools" / "tpuc-opt", "n.mlir", lowering, cwd=folder)
    assert (ended.returncode, ended.stderr) == (3, f"tpuc-opt: error: {message}\n")
