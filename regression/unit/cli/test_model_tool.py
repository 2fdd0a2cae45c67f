"""model_tool.py over every kind of file: what it tells, and that a broken file is one line and a code."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, ROOT

from stepdown.cli import tool
from stepdown.cli.import_source import OPENERS
from stepdown.cli.model_tool_open import KINDS, beside

MNIST = REGRESSION / "model" / "mnist_cnn.onnx"
MODELS = ROOT.parent / "shared" / "data" / "models"
NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" }
"""


def _caffe_files() -> ModuleType:
    path = REGRESSION / "unit" / "formats" / "caffe" / "caffe_files.py"
    spec = importlib.util.spec_from_file_location("caffe_files", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = tool.run("model_tool", [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def info(capsys: pytest.CaptureFixture[str], path: Path) -> dict:
    code, out, err = run(capsys, "--info", path, "--json")
    assert code == 0, err
    return dict(json.loads(out))


def test_every_format_that_is_imported_can_be_shown() -> None:
    assert set(OPENERS) <= set(KINDS)


def write_net(folder: Path) -> np.ndarray:
    weight = np.random.default_rng(0).random((3, 2, 3, 3), np.float32)
    (folder / "net.prototxt").write_text(NET)
    (folder / "net.caffemodel").write_bytes(_caffe_files().caffemodel({"conv": [weight]}))
    return weight


def test_a_caffe_net_is_shown_from_either_of_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_net(tmp_path)
    for name in ("net.prototxt", "net.caffemodel"):
        report = info(capsys, tmp_path / name)
        assert report["ops"] == {"top.Conv": 1, "top.Softmax": 1}
        assert (report["macs"], report["parameters"]) == (4 * 3 * 18, 54)
        assert report["provenance"]["platform"] == "CAFFE"
    code, out, _ = run(capsys, "--compare", tmp_path / "net.prototxt", tmp_path / "net.prototxt")
    assert code == 0 and "the same: 2 nodes" in out


def test_weights_without_their_net_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_net(tmp_path)
    (tmp_path / "net.prototxt").unlink()
    code, _, err = run(capsys, "--info", tmp_path / "net.caffemodel")
    assert code == 2 and "net.prototxt" in err and err.count("\n") == 1


def test_a_net_without_its_weights_says_where_they_belong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_net(tmp_path)
    (tmp_path / "net.caffemodel").unlink()
    code, _, err = run(capsys, "--info", tmp_path / "net.prototxt")
    assert code == 2 and "net.caffemodel" in err and "--model_data" not in err and err.count("\n") == 1


def test_the_only_other_file_belongs_to_a_model_and_one_of_two_does_not(tmp_path: Path) -> None:
    net = tmp_path / "deploy.prototxt"
    assert beside(str(net), ".caffemodel") == ""
    (tmp_path / "bvlc.caffemodel").touch()
    assert beside(str(net), ".caffemodel") == str(tmp_path / "bvlc.caffemodel")
    (tmp_path / "other.caffemodel").touch()
    assert beside(str(net), ".caffemodel") == ""


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".mlir", ".prototxt", ".caffemodel", ".npz", ".txt", ""])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe text", b"{"])
def test_a_broken_file_is_one_line(
    suffix: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    code, out, err = run(capsys, "--info", path)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "broken" in err


def test_graphs_of_one_model_in_another_type_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(MNIST)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, tmp_path / "double.onnx")
    code, out, _ = run(capsys, "--compare", MNIST, tmp_path / "double.onnx")
    assert code == 1 and "first difference (input)" in out


def test_what_is_drawn_may_not_replace_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.svg"
    path.write_text("mine")
    code, _, err = run(capsys, "--graph", path, "-o", path)
    assert code == 2 and path.read_text() == "mine" and err


# Multiply-accumulates; that of MobileNetV2 is the one of its ONNX model.
KNOWN = {
    "mobilenet_v2_int8.tflite": 300_774_272,
    "efficientnet_lite0_fp32.tflite": 385_187_552,
    "mlperf_tiny_resnet8_cifar10_int8.tflite": 12_501_632,
    "mlperf_tiny_kws_dscnn_int8.tflite": 2_656_768,
}


@pytest.mark.parametrize("name", KNOWN)
def test_tflite_models_have_their_known_cost(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not (MODELS / name).is_file():
        pytest.skip(f"{name} is not there")
    report = info(capsys, MODELS / name)
    assert report["macs"] == KNOWN[name]
    quantised = {kind for kind in report["quantization"]["tensors"] if kind.startswith("quantised")}
    assert quantised == ({"quantised i8"} if "int8" in name else set())
    assert run(capsys, "--compare", MODELS / name, MODELS / name)[0] == 0
