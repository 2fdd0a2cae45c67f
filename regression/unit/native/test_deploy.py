"""model_deploy.py and model_eval_imagenet.py on libraries: as of model files, everything runs and is compared."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkout import REGRESSION, run

pytest.importorskip("tvm", reason="needs TVM: bash build.sh --native")

SOFTMAX = """module attributes {module.name = "net", module.state = "TOP_F32", module.weight_file = ""} {
  func.func @main(%0: tensor<1x64xf32> loc("x")) -> tensor<1x64xf32> {
    %1 = "top.Input"(%0) : (tensor<1x64xf32>) -> tensor<1x64xf32> loc("x")
    %2 = "top.Relu"(%1) : (tensor<1x64xf32>) -> tensor<1x64xf32> loc("r_Relu")
    %3 = "top.Softmax"(%2) {axis = 1 : i64} : (tensor<1x64xf32>) -> tensor<1x64xf32> loc("z_Softmax")
    func.return %3 : tensor<1x64xf32>
  }
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mnist.mlir, in which preprocessing is stored, and an input."""
    made = tmp_path_factory.mktemp("deploy")
    model = REGRESSION / "model" / "mnist_cnn.onnx"
    asked = ["--model_name", "mnist", "--model_def", model, "--mlir", "mnist.mlir", "--mean", "33.3285"]
    transformed = run("model_transform.py", *asked, "--scale", "0.012728", "--pixel_format", "gray", cwd=made)
    assert transformed.returncode == 0, transformed.stderr
    np.savez(made / "x.npz", input=np.random.default_rng(1).normal(size=(1, 1, 28, 28)).astype(np.float32))
    return made


def deployed(folder: Path, *arguments: str) -> list[str]:
    ended = run("model_deploy.py", "--mlir", "mnist.mlir", "-o", "low.mlir", *arguments, cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_a_library_is_run_and_compared(folder: Path) -> None:
    told = deployed(
        folder, "--quantize", "F32", "--chip", "c", "--model", "net.so", "--keep_tensors", "--test_input", "x.npz"
    )
    compared = told.index(next(line for line in told if " low_tensors.npz --tolerance 0.9999" in line))
    assert told[compared].startswith("+ npz_tool.py compare net_so_tensors.npz low_tensors.npz")
    assert told[-2:] == ["npz compare PASSED.", "wrote low.mlir and net.so"]
    assert "10 passed" in told[compared:]


def test_a_library_of_outputs_alone_is_compared_and_counts_what_the_module_counts(folder: Path) -> None:
    told = deployed(folder, "--quantize", "BF16", "--chip", "c", "--model", "net.so", "--test_input", "x.npz")
    assert "1 passed" in told[-12:] and told[-2] == "npz compare PASSED."
    found = []
    for model in ("net.so", "low.mlir"):
        digits = REGRESSION / "dataset" / "digits_200.npz"
        asked = ["--model", model, "--dataset", digits, "--count", "20", "--workers", "1", "--json", f"{model}.json"]
        ended = run("model_eval_imagenet.py", *asked, cwd=folder)
        assert ended.returncode == 0, ended.stderr
        found.append(json.loads((folder / f"{model}.json").read_text())["figures"])
    assert found[0] == found[1] and found[0]["top1"]["hits"] > 15


def test_reals_among_integers_are_compared_within_a_bound(tmp_path: Path) -> None:
    (tmp_path / "softmax.mlir").write_text(SOFTMAX)
    (tmp_path / "table").write_text("x 3 -3 3\nr_Relu 3 0 3\nz_Softmax 1 0 1\n")
    np.savez(tmp_path / "x.npz", x=np.linspace(-3, 3, 64, dtype=np.float32).reshape(1, 64))
    asked = ["--mlir", "softmax.mlir", "--quantize", "INT8", "--calibration_table", "table", "--chip", "c"]
    made = ["--model", "net.so", "--test_input", "x.npz", "-o", "low.mlir"]
    ended = run("model_deploy.py", *asked, *made, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "net_so_tensors.npz low_outputs.npz --tolerance 0.9999,0.9999" in ended.stdout


def test_what_this_computer_cannot_run_is_made_and_said(folder: Path) -> None:
    told = deployed(folder, "--quantize", "F32", "--chip", "cortex_m7", "--model", "net.o", "--test_input", "x.npz")
    assert told[-2].startswith("net.o is not run here: a bundle runs in a C program")
