"""model_transform.py on a quantised ONNX model, and mlir2onnx.py on the module: what they write and say."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from formats.onnx.quantized_models import quantized, samples_of

from stepdown.cli import tool
from stepdown.dialects.program import read_program
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner


def transform(folder: Path, *more: str) -> int:
    """Quantise a network and import it."""
    source = onnx.load(REGRESSION / "model" / "mnist_cnn.onnx")
    model = quantized(source, folder, "qdq", "u8s8")
    np.savez(folder / "x.npz", **samples_of(source)[1])
    flags = ["--model_name", "net", "--model_def", str(model), "--mlir", str(folder / "net.mlir"), *more]
    return tool.run("model_transform", [*flags, "--test_input", str(folder / "x.npz")])


def test_integers_are_kept_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transform(tmp_path, "--tolerance", "0.9999,0.999") == 0
    said = capsys.readouterr().out
    assert f"Target    {tmp_path}/net_by_operator.npz" in said
    assert "output_DequantizeLinear" in np.load(tmp_path / "net_by_operator.npz")
    assert "net_by_operator.npz," in said.splitlines()[-2]
    assert "tpu.Conv ×3: 43904 integers, 0 off by 1, 0 by more" in said
    assert "whole network, run freely: output_DequantizeLinear cosine 1.000000" in said
    program = read_program(tmp_path / "net.mlir")
    assert [program[key] for key in ("state", "mode", "profile", "chip")] == ["TPU_LOWERED", "INT8", "tosa", ""]


def test_requantize_writes_a_float_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transform(tmp_path, "--requantize") == 0
    assert "next: run_calibration.py" in capsys.readouterr().out
    program = read_program(tmp_path / "net.mlir")
    assert program["state"] == "TOP_F32"
    assert not any("uantize" in op.name for op in program.ops)


def test_a_module_goes_back_to_onnx_and_gives_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transform(tmp_path) == 0
    written = tmp_path / "back.onnx"
    assert tool.run("mlir2onnx", [str(tmp_path / "net.mlir"), "-o", str(written), "--opset", "13"]) == 0
    assert onnx.load(written).opset_import[0].version == 13
    inputs = dict(np.load(tmp_path / "x.npz"))
    (ours,) = MlirRunner(tmp_path / "net.mlir").run(inputs).values()
    (theirs,) = OnnxRunner(written).run(inputs).values()
    np.testing.assert_array_equal(ours, theirs)
    capsys.readouterr()


def test_wrong_operator_sets_and_modules_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transform(tmp_path) == 0
    module, target = str(tmp_path / "net.mlir"), str(tmp_path / "back.onnx")
    capsys.readouterr()
    for flags, what in (([module, "--opset", "9"], "is 9, want 10 to"), ([], "one module is wanted")):
        assert tool.run("mlir2onnx", [*flags, "-o", target]) == 2
        assert what in capsys.readouterr().err
