"""The second pass: the errors of its definition, the least of them taken, the same for any number of workers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, ROOT, run

from stepdown.calibration.table import Row, read_table
from stepdown.calibration.tune import FACTORS, TuneJob, candidates, relative_error, scale_row, tuned_rows
from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program, read_program
from stepdown.distributed.engine import run_shards
from stepdown.files.npz import write_npz
from stepdown.formats.onnx.importer import import_model
from stepdown.numerics.quantize import QuantParams, dequantize, quantize
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.import_calibration_table import float_values

TOOL = ROOT / "tools" / "run_calibration.py"
TEXT = """
    <ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 6] x) => (float[1, 6] y, float[1, 6] z) {
        a = Relu(x)  s = Sigmoid(a)  y = Add(s, a)  z = Mul(a, a) }"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a network in which one tensor is read four times, and samples."""
    import_model(onnx.parser.parse_model(TEXT), "net").write(tmp_path / "net.mlir")
    random = np.random.default_rng(3)
    for number in range(5):
        write_npz(tmp_path / f"{number}.npz", {"x": random.standard_normal((1, 6)).astype(np.float32) * 3})
    return tmp_path


def job(folder: Path) -> TuneJob:
    names = [value_name(v) for v in float_values(read_program(folder / "net.mlir"))]
    rows = {name: Row(2.5, -2.0 if name == "x" else 0.0, 2.4) for name in names}
    limits = {name: Row(2.9, -2.2 if name == "x" else 0.0, 2.9) for name in names}
    return TuneJob(str(folder / "net.mlir"), sorted(folder.glob("[0-9].npz")), rows, limits)


def errors(folder: Path, workers: int, size: int = 0) -> np.ndarray:
    return run_shards(job(folder), 5, workers=workers, shard_size=size)["errors"]


def test_workers_and_shards_change_nothing(folder: Path) -> None:
    whole = errors(folder, 1, 5)
    assert whole.shape == (5, 5, 2, len(FACTORS))
    assert whole.tobytes() == errors(folder, 2).tobytes() == errors(folder, 3, 2).tobytes()


def test_errors_are_those_of_the_definition(folder: Path) -> None:
    measured, given = errors(folder, 1), job(folder)
    program = read_program(folder / "net.mlir")
    names = [value_name(v) for v in float_values(program)]
    for number, file in enumerate(given.files):
        seen = MlirRunner(program).run(dict(np.load(file)), "all")
        for place, name in enumerate(names):
            for symmetry, choices in enumerate(candidates(given.rows[name], given.limits[name])):
                for choice, params in enumerate(choices):
                    wanted = by_definition(program, name, params, seen)
                    assert measured[number, place, symmetry, choice] == pytest.approx(wanted, rel=1e-4, abs=1e-12)


def by_definition(program: Program, name: str, params: QuantParams, seen: dict[str, np.ndarray]) -> float:
    """Return the error of one candidate: written out for the ops of TEXT."""
    a, s = seen["a_Relu"], seen["s_Sigmoid"]
    old = seen[name]
    new = dequantize(quantize(old, params), params)
    share = {
        "x": [(np.maximum(new, 0), a)],
        "a_Relu": [(1 / (1 + np.exp(-new)), s), (s + new, s + a), (new * new, a * a)],
        "s_Sigmoid": [(new + a, s + a)],
    }.get(name, [(new, old)])
    return sum(float(np.square(n - o).sum() / np.square(o).sum()) for n, o in share)


def test_the_least_error_is_taken_and_the_first_pass_among_equals() -> None:
    rows, limits = {"x": Row(1.0, -1.0, 0.5)}, {"x": Row(1.1, -1.05, 0.6)}
    found = np.full((2, 1, 2, len(FACTORS)), 1.0)
    assert tuned_rows(["x"], rows, limits, found)["x"] == scale_row(rows["x"], limits["x"], 1.0, 1.0)
    found[0, 0, 0, 3] = found[1, 0, 1, 4] = 0.5
    row = tuned_rows(["x"], rows, limits, found)["x"]
    assert row.threshold == pytest.approx(0.86)
    assert (row.minimum, row.maximum) == pytest.approx((-1.05, 0.58))


def test_candidates_stay_inside_what_was_seen_and_keep_the_sign() -> None:
    for factor in FACTORS:
        row = scale_row(Row(3.0, 0.0, 3.0), Row(3.1, 0.0, 3.1), factor, factor)
        assert row.minimum == 0
        assert row.maximum == row.threshold <= np.float32(3.1)
    assert scale_row(Row(2.0, 1.0, 2.0), Row(2.0, 1.0, 2.0), 0.7, 0.7) == Row(*np.float32([1.4, 1.0, 1.4]).tolist())
    negative = scale_row(Row(2.0, -2.0, -1.0), Row(2.0, -2.0, -1.0), 0.3, 0.3)
    assert negative.minimum <= negative.maximum


def test_relative_error_of_zeros_and_integers_is_nothing() -> None:
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert relative_error([ones], [zeros]) == 0
    assert relative_error([np.arange(3)], [np.arange(3) + 1]) == 0
    assert relative_error([zeros, ones], [ones, ones]) == 1


def test_the_tool_tunes_from_photos_and_from_a_sketch_alike(folder: Path) -> None:
    (folder / "list.txt").write_text("".join(f"{n}.npz\n" for n in range(5)))
    flags = [folder / "net.mlir", "--data_list", "list.txt", "--percentile", "90", "--tune", "--tune_num", "3"]
    whole = run(TOOL, *flags, "--sketch", "s.npz", "--workers", "2", "-o", "one", cwd=folder)
    assert whole.returncode == 0, whole.stderr
    assert "3 of 3 samples tuned" in whole.stderr
    later = run(TOOL, *flags, "--from_sketch", "s.npz", "--workers", "1", "-o", "two", cwd=folder)
    assert later.returncode == 0, later.stderr
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    assert "# tuned over 3 samples" in (folder / "one").read_text()
    plain = run(TOOL, *flags[:5], "-o", "plain", cwd=folder)
    assert plain.returncode == 0
    assert read_table(folder / "plain") != read_table(folder / "one")
    assert not list(folder.glob("*.shards"))


def test_digits_are_tuned_in_a_real_network(tmp_path: Path) -> None:
    import_model(onnx.load(REGRESSION / "model" / "mnist_cnn.onnx"), "mnist").write(tmp_path / "mnist.mlir")
    digit = np.load(REGRESSION / "dataset" / "digits_200.npz")["x"][0]
    write_npz(tmp_path / "0.npz", {"input": digit[None, None].astype(np.float32) / 255})
    (tmp_path / "list.txt").write_text("0.npz\n")
    ended = run(TOOL, "mnist.mlir", "--data_list", "list.txt", "--tune", "-o", "table", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert read_table(tmp_path / "table")
