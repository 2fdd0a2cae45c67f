"""model_tool.py on model files: --info, --extract, --combine and --strip."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model.model_files import CHIP, HOST_TEXT, ramp, small_model, with_stage

from stepdown.cli import tool
from stepdown.files.npz import NpzFile, read_npz
from stepdown.model import Weight, read_model_file, write_model_file
from stepdown.model.combine import combine


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = tool.run("model_tool", [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with three model files."""
    monkeypatch.chdir(tmp_path)
    for name, made in (("a", small_model()), ("b", small_model(batch=2)), ("c", small_model("other"))):
        write_model_file(f"{name}.bmodel", made)
    return tmp_path


def test_info_tells_what_is_inside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--info", "a.bmodel", "--json")
    report = json.loads(out)
    network = report["networks"][0]
    stage = network["stages"][0]
    assert (code, report["kind"], report["chip"], report["version"]) == (0, "model file", "chip9", 1)
    assert report["contents_sha256"] == read_model_file("a.bmodel").sha256
    assert (network["name"], network["mode"]) == ("small", "INT8")
    assert stage["inputs"] == [
        {"name": "input", "shape": [1, 3, 8, 8], "type": "i8", "scale": 0.05, "zero_point": 3}
    ]  # fmt: skip
    assert stage["subnets"][0]["commands"] == {"compute": 3, "dma": 4}
    assert (stage["weights"], stage["weight_bytes"]) == (3, 216 + 32 + 4)
    assert stage["provenance"]["flags"] == ["--batch=1", "mode=INT8"]
    assert stage["ops"] == {"tpu.Conv": 1, "tpu.MaxPool": 1}
    assert "step_rows" not in stage and "sections" not in report


def test_verbose_info_has_every_step_and_region(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--info", "a.bmodel", "--verbose")
    assert code == 0
    for line in (
        "network small: mode INT8, profile tosa",
        "    input 1x3x8x8 i8 scale 0.05 zero point 3",
        "    tpu.Conv conv_Conv: dma 2..2, compute 1..1",
        "    local 256..512: conv_Conv part 0,0,4,0 size 1,8,4,8, steps 1..2, whole after 1",
        "    conv_bias_i32 8 i32 at 256 in section weight/conv_bias_i32",
        "  weight/conv_bias_i32 32 bytes",
    ):
        assert line in out.splitlines()


def test_combined_files_hold_both_and_are_small(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--combine", "a.bmodel", "b.bmodel", "c.bmodel", "-o", "all.bmodel")
    assert code == 0 and out.startswith("2 networks, 3 stages: ")
    assert (
        read_model_file("all.bmodel").networks
        == combine([small_model(), small_model(batch=2), small_model("other")]).networks
    )
    code, out, _ = run(capsys, "--info", "all.bmodel")
    assert "  stage 1:" in out.splitlines() and "networks: 2" in out


def test_stripped_files_are_smaller(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = run(capsys, "--strip", "a.bmodel", "-o", "s.bmodel")
    assert code == 0 and (folder / "s.bmodel").stat().st_size < (folder / "a.bmodel").stat().st_size
    code, out, _ = run(capsys, "--info", "s.bmodel")
    assert "provenance: none stored" in out and "steps: 0" in out


def test_extracted_parts_are_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--extract", "a.bmodel")
    parts, model = folder / "a_parts", read_model_file("a.bmodel")
    assert code == 0 and out.endswith("wrote 7 files into a_parts\n")
    assert (parts / "chip.toml").read_text() == CHIP
    assert (parts / "small.subnet1.mlir").read_text() == HOST_TEXT
    assert json.loads((parts / "model.json").read_text())["networks"][0]["name"] == "small"
    for stream in model.network().stages[0].streams:
        assert (parts / f"small.{stream.engine}.bin").read_bytes() == model.sections[stream.section]
    assert np.array_equal(read_npz(parts / "small_weight.npz")["conv.weight_i8"], ramp(8, 3, 3, 3))
    assert read_npz(parts / "small.subnet1_weight.npz")["temperature"].tolist() == [0.5]


def test_extracted_sixteen_bit_floats_are_values(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = small_model()
    bits = {"weight/b": np.array([0x3FC0], "<u2").tobytes(), "weight/h": np.array([1.5], "<f2").tobytes()}
    weights = (Weight("b", "weight/b", (1,), "bf16", 0), Weight("h", "weight/h", (1,), "f16", 8))
    made = with_stage(replace(made, sections={**made.sections, **bits}), weights=weights)
    made = with_stage(made, memory=made.networks[0].stages[0].memory[:4])
    write_model_file("h.bmodel", made)
    assert run(capsys, "--extract", "h.bmodel", "-o", "h")[0] == 0
    file = NpzFile("h/small_weight.npz")
    assert {name: float(file[name][0]) for name in file} == {"b": 1.5, "h": 1.5}
    assert file.metadata is not None and file.metadata.tensors["b"].type == "bf16"


def test_names_of_networks_cannot_leave_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("../../escaped", "/etc/x", "..", "a/b", "A_b", "x" * 500, "chip")
    write_model_file("evil.bmodel", combine([small_model(name) for name in names]))
    code, _, err = run(capsys, "--extract", "evil.bmodel", "-o", "parts")
    assert code == 0, err
    assert sorted(os.listdir(folder)) == ["a.bmodel", "b.bmodel", "c.bmodel", "evil.bmodel", "parts"]
    files = os.listdir("parts")
    assert len(files) == 2 + 5 * len(names) == len({name.lower() for name in files})
    assert all((folder / "parts" / name).is_file() and not name.startswith(".") for name in files)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--combine a.bmodel", "give -o X.bmodel"),
        ("--combine a.bmodel -o x.bmodel", "wants at least two files"),
        ("--combine a.bmodel b.bmodel -o b.bmodel", "b.bmodel: would be overwritten"),
        ("--combine a.bmodel no.bmodel -o x.bmodel", "no.bmodel: no such file"),
        ("--combine a.bmodel a.bmodel -o x.bmodel", "there already for these input shapes"),
        ("--strip a.bmodel -o x.mlir", "not a model file"),
        ("--strip a.bmodel -o nowhere/x.bmodel", "nowhere: the folder to write into does not exist"),
        ("--extract a.bmodel -o .", "is there already"),
        ("--extract a.bmodel -o a.bmodel", "is there already"),
        ("--extract a.bmodel -o no/where", "the folder to write into does not exist"),
        ("--graph a.bmodel", "holds commands and no graph; give the .mlir file"),
        ("--compare a.bmodel a.bmodel", "holds commands and no graph"),
        ("--info a.bmodel --input_shapes [[1]]", "--input_shapes: has no meaning for this file"),
        ("--info a.bmodel -o x", "--output: has no meaning with --info; it belongs to --graph and --extract"),
    ],
)
def test_wrong_words_are_one_line(
    words: str, wanted: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    before = sorted(os.listdir(folder))
    code, out, err = run(capsys, *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert wanted in err
    assert sorted(os.listdir(folder)) == before
