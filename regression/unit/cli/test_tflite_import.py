"""model_transform.py on a quantised TFLite model: its input as integers and as real numbers."""

from pathlib import Path

import numpy as np
import pytest
from formats.tflite.tflite_models import Op, Tensor, model

from stepdown.cli import tool

STORED = np.int8([[-100, 3, 4, 100]])
GIVEN = {"int8": STORED, "float32": (STORED - np.float32(3)) * np.float32(0.5)}


@pytest.mark.parametrize("dtype", GIVEN)
@pytest.mark.parametrize("more", [[], ["--requantize"]], ids=["kept", "requantized"])
def test_an_input_of_integers_means_what_the_file_says(tmp_path: Path, dtype: str, more: list[str]) -> None:
    tensors = [Tensor("x", STORED.shape, scale=0.5, zero_point=3), Tensor("y", STORED.shape, scale=0.5, zero_point=3)]
    (tmp_path / "net.tflite").write_bytes(model([Op("RELU", ["x"], ["y"])], tensors))
    np.savez(tmp_path / "x.npz", x=GIVEN[dtype])
    flags = ["--model_name", "net", "--model_def", str(tmp_path / "net.tflite"), "--mlir", str(tmp_path / "net.mlir")]
    check = ["--test_input", str(tmp_path / "x.npz"), "--tolerance", "0.9999,0.9999"]
    assert tool.run("model_transform", [*flags, *check, *more]) == 0
    assert np.load(tmp_path / "net_in_f32.npz")["x"].dtype == (np.float32 if more else np.dtype(dtype))


def test_a_missing_input_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = [Tensor(name, (1, 4), "float32") for name in "abc"]
    (tmp_path / "net.tflite").write_bytes(model([Op("ADD", ["a", "b"], ["c"])], tensors))
    np.savez(tmp_path / "x.npz", a=np.ones((1, 4), np.float32))
    flags = ["--model_name", "net", "--model_def", str(tmp_path / "net.tflite"), "--mlir", str(tmp_path / "net.mlir")]
    assert tool.run("model_transform", [*flags, "--test_input", str(tmp_path / "x.npz")]) == 2
    assert "input 'b' is missing (given: a); give its tensor too" in capsys.readouterr().err
