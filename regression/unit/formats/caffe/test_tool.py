"""model_transform.py on a detector: what ONNX cannot say is imported, and told to be unchecked."""

from pathlib import Path

import numpy as np
import pytest
from formats.caffe.caffe_files import caffemodel
from formats.caffe.test_networks import ssd

from stepdown.cli import model_transform
from stepdown.dialects.program import read_program
from stepdown.files.npz import read_npz


def test_a_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, blobs = ssd()
    net, data, given, module = (str(tmp_path / n) for n in ("ssd.prototxt", "ssd.caffemodel", "in.npz", "ssd.mlir"))
    Path(net).write_text(text)
    Path(data).write_bytes(caffemodel(blobs))
    np.savez(given, data=np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32))
    flags = ["--model_name", "ssd", "--model_def", net, "--model_data", data, "--test_input", given, "--mlir", module]
    assert model_transform.run(model_transform.parser().parse_args(flags)) == 0
    printed = capsys.readouterr().out
    assert "reference: no Caffe here; the imported net, written as ONNX and run by onnxruntime" in printed
    assert "not checked, because ONNX has no such operator: detections" in printed
    assert "0 failed" in printed
    assert read_program(module).output_names == ["detections"]
    assert read_npz(tmp_path / "ssd_f32_outputs.npz")["detections"].shape == (1, 1, 20, 7)
