"""The whole step on a small network: samples → table → calibrated program."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, ROOT, run

from stepdown.calibration.calibrate import SketchJob, choose_ranges, never_clipped
from stepdown.calibration.samples import file_hashes, program_inputs, samples_digest
from stepdown.calibration.sketch import Sketch
from stepdown.calibration.sketches import Sketches, from_arrays, read_sketches, to_arrays
from stepdown.calibration.table import Row, read_table, write_table
from stepdown.data.dataset import Dataset
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, read_program
from stepdown.dialects.quant import Range
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import range_of
from stepdown.distributed.engine import run_shards
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


def digits(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9].npz"))


def sketches_of(folder: Path, files: list[Path], engine: str = "", workers: int = 1) -> Sketches:
    job = SketchJob(str(folder / "mnist.mlir"), files, engine)
    return from_arrays(run_shards(job, len(files), workers=workers), job.names)


def state(sketches: Sketches) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in to_arrays(sketches).items()} | {"names": str([*sketches]).encode()}


def calibration_run(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return run(TOOL, folder / "mnist.mlir", *more, cwd=folder)


def test_extremes_are_those_of_the_runner(folder: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    samples = Dataset(tuple(digits(folder)), program_inputs(program, digits(folder)))
    sketches = sketches_of(folder, digits(folder), "reference")
    dumps = [MlirRunner(program).run(samples[i], "all") for i in range(8)]
    assert list(sketches) == list(dumps[0])
    for name, sketch in sketches.items():
        assert sketch.count == 8 * dumps[0][name].size
        assert sketch.minimum == min(d[name].min() for d in dumps)
        assert sketch.maximum == max(d[name].max() for d in dumps)


def test_order_of_the_samples_changes_nothing(folder: Path) -> None:
    files = digits(folder)
    assert state(sketches_of(folder, files)) == state(sketches_of(folder, files[::-1]))
    assert samples_digest(file_hashes(files)) == samples_digest(file_hashes(files[::-1]))


@pytest.mark.parametrize("engine", ["ort", "reference"])
def test_workers_change_nothing(folder: Path, engine: str) -> None:
    one, two, three = (state(sketches_of(folder, digits(folder), engine, workers)) for workers in (1, 2, 3))
    assert one == two == three


def test_engines_agree_within_the_noise_of_float32(folder: Path) -> None:
    fast, exact = (sketches_of(folder, digits(folder), engine) for engine in ("ort", "reference"))
    assert list(fast) == list(exact)
    for name, sketch in fast.items():
        assert sketch.count == exact[name].count
        close = {"rel": 1e-5, "abs": 1e-5 * exact[name].absmax}
        assert sketch.minimum == pytest.approx(exact[name].minimum, **close)
        assert sketch.maximum == pytest.approx(exact[name].maximum, **close)


def test_a_sample_that_is_not_finite_is_named_with_the_tensor(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    write_npz(bad, {"input": np.full((1, 1, 28, 28), np.nan, np.float32)})
    with pytest.raises(InputError, match=r"bad\.npz: 784 of 784 values are NaN or infinite in tensor 'input'"):
        sketches_of(folder, [bad])


def test_a_photo_needs_stored_preprocessing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no preprocessing for input 'input'.*cat\.jpg; run model_transform\.py"):
        program_inputs(network(), [Path("cat.jpg")])


@pytest.mark.parametrize("asymmetric", [False, True])
def test_the_table_becomes_types_that_survive_the_file(folder: Path, asymmetric: bool, tmp_path: Path) -> None:
    program = read_program(folder / "mnist.mlir")
    rows = choose_ranges(sketches_of(folder, digits(folder)), "mse")
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


def test_a_lowered_module_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    program = network()
    program["state"] = "TPU_LOWERED"
    with pytest.raises(InputError, match="this one is TPU_LOWERED"):
        ImportCalibrationTable("table").run(program)
    program.write(tmp_path / "lowered.mlir")
    with pytest.raises(InputError, match="this one is TPU_LOWERED"):
        SketchJob(str(tmp_path / "lowered.mlir"), digits(folder))


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
    for method in METHODS:
        ended = calibration_run(folder, *chosen, "--cali_method", method, "-o", f"by_{method}", "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["samples"] == 3
        tables.add((folder / f"by_{method}").read_text())
    assert len(tables) == len(METHODS)


METHODS = ("mse", "max", "percentile", "kl", "auto")


def test_every_method_is_computed_from_the_sketch_file(folder: Path, tmp_path: Path) -> None:
    ended = calibration_run(folder, "--data_list", "list.txt", "--sketch", "s.npz", "-o", "with_sketch")
    assert ended.returncode == 0, ended.stderr
    for method in ("kl", "auto"):
        for name, source in (("fresh", ["--data_list", "list.txt"]), ("later", ["--from_sketch", "s.npz"])):
            ended = calibration_run(folder, *source, "--cali_method", method, "-o", str(tmp_path / name))
            assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "fresh").read_bytes() == (tmp_path / "later").read_bytes()
    ended = calibration_run(folder, "--from_sketch", "s.npz", "--workers", "2", "-o", "table")
    assert ended.returncode == 2
    assert "--workers: has no meaning with --from_sketch" in ended.stderr


def test_a_sketch_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    assert calibration_run(folder, "--data_list", "list.txt", "--sketch", "s.npz", "-o", "t").returncode == 0
    other = network()
    key = next(op.key for op in other.ops if isinstance(op, Weight))
    other.weights[key] = other.weights[key] + 1
    other.write(tmp_path / "other.mlir")
    ended = run(TOOL, tmp_path / "other.mlir", "--from_sketch", folder / "s.npz", "-o", tmp_path / "t")
    assert ended.returncode == 2
    assert "was taken from another model than" in ended.stderr


def test_broken_sketch_files_are_refused(folder: Path, tmp_path: Path) -> None:
    assert calibration_run(folder, "--data_list", "list.txt", "--sketch", "s.npz", "-o", "t").returncode == 0
    arrays = dict(np.load(folder / "s.npz"))
    broken = {
        "has no 'counts'": {name: array for name, array in arrays.items() if name != "counts"},
        "do not add up": arrays | {"counts": arrays["counts"] * 2},
        "'about' is malformed": arrays | {"about": np.zeros(3, np.uint8)},
        "'exponent' is float32": arrays | {"exponent": arrays["exponent"].astype(np.float32)},
    }
    for what, content in broken.items():
        np.savez(tmp_path / "broken.npz", **content)
        with pytest.raises(InputError, match=what):
            read_sketches(tmp_path / "broken.npz")


def test_a_killed_run_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("".join(f"{folder}/{n % 8}.npz\n" for n in range(1000)))
    flags = [str(folder / "mnist.mlir"), "--data_list", "many.txt", "--workers", "2"]
    assert run(TOOL, *flags, "-o", "whole", cwd=tmp_path).returncode == 0
    running = subprocess.Popen([sys.executable, TOOL, *flags, "-o", "killed"], cwd=tmp_path)
    while len(list(tmp_path.glob("killed.shards/*.npz"))) < 3:
        assert running.poll() is None
        time.sleep(0.002)
    running.kill()
    running.wait()
    assert not (tmp_path / "killed").exists()
    ended = run(TOOL, *flags, "--resume", "-o", "killed", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "of them by an earlier run" in ended.stderr
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / "killed.shards").exists()


def test_probabilities_are_never_clipped() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 4000] x) => (float[1, 4000] y, float[1, 4000] w) { y = Softmax(x)  z = Tanh(x)  w = Sin(z) }"""
    program = import_model(onnx.parser.parse_model(text), "net")
    x = np.zeros((1, 4000), np.float32)
    x[0, 7] = 20
    sketches = {name: Sketch() for name in ("y_Softmax", "z_Tanh")}
    tensors = MlirRunner(program).run({"x": x}, "all")
    for name, sketch in sketches.items():
        sketch.update(tensors[name])
    rows = choose_ranges(sketches, "percentile", 99.9, never_clipped(program))
    assert rows["y_Softmax"].threshold == pytest.approx(1.0, abs=1e-4)
    assert rows["z_Tanh"].threshold < 0.1


def test_results_are_never_clipped_nor_is_what_their_softmax_reads() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 10] x) => (float[2, 5] y, float[10, 1] z)
        <int64[2] shape = {2, 5}>
        { h = Tanh(x)  l = Relu(h)  p = Softmax(l)  y = Reshape(p, shape)  t = Tanh(h)  z = Transpose(t) }"""
    program = import_model(onnx.parser.parse_model(text), "net")
    assert {name.split("_")[0] for name in never_clipped(program)} == {"l", "p", "y", "t", "z"}


DOUBLES = """
    <ir_version: 8, opset_import: ["" : 13]>
    g ({FLOAT}[2, 4] x) => (double[2, 4] y) { a = Cast <to = 11> (x)  y = Relu(a) }"""


def test_a_network_without_float32_is_refused_in_one_line(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(DOUBLES.replace("{FLOAT}", "double"))
    import_model(model, "net").write(tmp_path / "net.mlir")
    write_npz(tmp_path / "0.npz", {"x": np.zeros((2, 4))})
    done = run(TOOL, "net.mlir", "--dataset", ".", "-o", "table", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("run_calibration.py: error: net.mlir: has no float32 tensor, so there is nothing")


def test_only_the_input_may_be_float32(tmp_path: Path) -> None:
    import_model(onnx.parser.parse_model(DOUBLES.replace("{FLOAT}", "float")), "net").write(tmp_path / "net.mlir")
    write_npz(tmp_path / "0.npz", {"x": np.float32([[1, 2, 3, 4], [-5, 6, 7, 8]])})
    job = SketchJob(str(tmp_path / "net.mlir"), [tmp_path / "0.npz"])
    rows = choose_ranges(from_arrays(run_shards(job, 1, workers=1), job.names), "max")
    assert rows == {"x": Row(8.0, -5.0, 8.0)}
