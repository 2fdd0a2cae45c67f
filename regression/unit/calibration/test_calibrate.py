"""The whole step on a small network: samples → table → calibrated program."""

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, ROOT, run

from stepdown.calibration.calibrate import calibrate, choose_ranges, probabilities, program_inputs, samples_digest
from stepdown.calibration.sketch import Sketch
from stepdown.calibration.table import Row, read_table, write_table
from stepdown.data.dataset import Dataset
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.quant import Range
from stepdown.dialects.types import range_of
from stepdown.errors import InputError
from stepdown.files.npz import write_npz
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.import_calibration_table import ImportCalibrationTable, float_values

TOOL = ROOT / "tools" / "run_calibration.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the network, eight digits, and a list of them."""
    folder = tmp_path_factory.mktemp("digits")
    network().write(folder / "mnist.mlir")
    digits = np.load(REGRESSION / "dataset" / "digits_200.npz")["x"]
    for number in range(8):
        write_npz(folder / f"{number}.npz", {"input": digits[number][None, None].astype(np.float32) / 255})
    (folder / "list.txt").write_text("".join(f"{number}.npz\n" for number in range(8)))
    return folder


def network() -> Program:
    return import_model(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"), "mnist")


def dataset(program: Program, folder: Path) -> Dataset:
    files = tuple(sorted(folder.glob("[0-9].npz")))
    return Dataset(files, program_inputs(program, files))


def calibration_run(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return run(TOOL, folder / "mnist.mlir", *more, cwd=folder)


def test_extremes_are_those_of_the_runner(folder: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    samples = dataset(program, folder)
    seen: list[int] = []
    sketches = calibrate(program, samples, seen.append)
    assert seen == list(range(1, 9))
    dumps = [MlirRunner(program).run(samples[i], "all") for i in range(8)]
    assert list(sketches) == list(dumps[0])
    for name, sketch in sketches.items():
        assert sketch.count == 8 * dumps[0][name].size
        assert sketch.minimum == min(d[name].min() for d in dumps)
        assert sketch.maximum == max(d[name].max() for d in dumps)


def test_order_of_the_samples_changes_nothing(folder: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    samples = dataset(program, folder)
    turned = Dataset(samples.files[::-1], samples.inputs)
    assert choose_ranges(calibrate(program, samples), "mse") == choose_ranges(calibrate(program, turned), "mse")
    assert samples_digest(samples.files) == samples_digest(turned.files)


def test_a_sample_that_is_not_finite_is_named_with_the_tensor(folder: Path, tmp_path: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    bad = tmp_path / "bad.npz"
    write_npz(bad, {"input": np.full((1, 1, 28, 28), np.nan, np.float32)})
    with pytest.raises(InputError, match=r"bad\.npz: 784 of 784 values are NaN or infinite in tensor 'input'"):
        calibrate(program, Dataset((bad,), program_inputs(program, [bad])))


def test_a_photo_needs_stored_preprocessing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no preprocessing for input 'input'.*cat\.jpg; run model_transform\.py"):
        program_inputs(network(), [Path("cat.jpg")])


@pytest.mark.parametrize("asymmetric", [False, True])
def test_the_table_becomes_types_that_survive_the_file(folder: Path, asymmetric: bool, tmp_path: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    rows = choose_ranges(calibrate(program, dataset(program, folder)), "mse")
    write_table(tmp_path / "table", rows)
    ImportCalibrationTable(str(tmp_path / "table"), asymmetric).run(program)
    program.write(tmp_path / "calibrated.mlir")
    again = read_program(tmp_path / "calibrated.mlir")
    assert again["state"] == "TOP_CALIBRATED"
    assert [o.element_type.name for o in again.main.function_type.outputs] == ["quant.calibrated"]
    assert [i.element_type.name for i in again.main.function_type.inputs] == ["f32"]
    for value in float_values(again):
        assert range_of(value) == expected(rows[value_name(value)], asymmetric)
    ImportCalibrationTable(str(tmp_path / "table"), not asymmetric).run(again)
    assert range_of(again.results[0]) == expected(rows[again.output_names[0]], not asymmetric)


def expected(row: Row, asymmetric: bool) -> Range:
    if asymmetric:
        return Range(row.minimum, row.maximum)
    return Range(-row.threshold if row.minimum < 0 else 0.0, row.threshold)


def test_tensors_that_the_table_lacks_are_named(tmp_path: Path) -> None:
    program = network()
    names = [value_name(v) for v in float_values(program)]
    write_table(
        tmp_path / "table", {name: Row(1, -1, 1) for name in names if name != "input"} | {"inputs": Row(1, 0, 1)}
    )
    with pytest.raises(
        InputError, match=rf"no line for 1 of {len(names)} tensors: 'input' \(did you mean 'inputs'\?\)"
    ):
        ImportCalibrationTable(str(tmp_path / "table")).run(program)
    write_table(tmp_path / "table", {})
    with pytest.raises(InputError, match=rf"no line for {len(names)} of .* and {len(names) - 5} more"):
        ImportCalibrationTable(str(tmp_path / "table")).run(program)


def test_a_lowered_module_is_refused_in_one_line(folder: Path) -> None:
    program = network()
    program["state"] = "TPU_LOWERED"
    with pytest.raises(InputError, match="this one is TPU_LOWERED"):
        ImportCalibrationTable("table").run(program)
    with pytest.raises(InputError, match="this one is TPU_LOWERED"):
        calibrate(program, dataset(program, folder))


def test_the_tool_writes_the_same_bytes_again(folder: Path) -> None:
    for name in ("one", "two"):
        ended = calibration_run(folder, "--data_list", "list.txt", "--input_num", "4", "-o", name)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(f"wrote {name}: ")
        assert f"next: tpuc-opt {folder}/mnist.mlir --import-calibration-table='file={name}" in ended.stdout
        assert "4 of 4 samples" in ended.stderr
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    assert str(folder) not in (folder / "one").read_text()
    assert read_table(folder / "one")


def test_the_tool_takes_a_folder_and_every_method(folder: Path, tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.npz").symlink_to(folder / f"{number}.npz")
    chosen = ["--dataset", str(tmp_path), "--input_num", "3", "--seed", "1"]
    tables = set()
    for method in ("mse", "max", "percentile", "kl"):
        ended = calibration_run(folder, *chosen, "--cali_method", method, "-o", f"by_{method}", "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["samples"] == 3
        tables.add((folder / f"by_{method}").read_text())
    assert len(tables) == 4


def test_probabilities_are_never_clipped() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 4000] x) => (float[1, 4000] y, float[1, 4000] z) { y = Softmax(x)  z = Tanh(x) }"""
    program = import_model(onnx.parser.parse_model(text), "net")
    x = np.zeros((1, 4000), np.float32)
    x[0, 7] = 20
    sketches = {name: Sketch() for name in ("y_Softmax", "z_Tanh")}
    for name, tensor in MlirRunner(program).run({"x": x}).items():
        sketches[name].update(tensor)
    rows = choose_ranges(sketches, "percentile", 99.9, probabilities(program))
    assert rows["y_Softmax"].threshold == pytest.approx(1.0, abs=1e-4)
    assert rows["z_Tanh"].threshold < 0.1
