"""The runner of .onnx files: names, types, dumps, errors."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from onnx import TensorProto, helper, numpy_helper

from stepdown.errors import InputError
from stepdown.runtimes import open_runner

MNIST = REGRESSION / "model" / "mnist_cnn.onnx"


def model_file(folder: Path, nodes: list[onnx.NodeProto], outputs: dict[str, int], size: int | str = 4) -> Path:
    """Write a model with the input x[size], float32, and the constant `two`."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.float32([2]), "two")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_a_dump_has_the_outputs_of_a_plain_run() -> None:
    runner = open_runner(MNIST)
    given = {s.name: np.random.default_rng(0).uniform(-1, 1, s.shape).astype(np.float32) for s in runner.inputs()}
    plain, dumped = runner.run(given), runner.run(given, "all")
    assert list(plain) == [spec.name for spec in runner.outputs()] == list(runner.metadata.outputs)
    assert all(dumped[name].tobytes() == array.tobytes() for name, array in plain.items())
    assert set(given) < set(dumped) and set(runner.metadata.tensors) == set(dumped)
    assert len(runner.metadata.model_sha256) == 64


def test_names_and_types(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([1]))),
        helper.make_node("Add", ["x", "c"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Greater", ["sum", "two"], ["large"]),
        helper.make_node("Split", ["sum"], ["left", "unused"], axis=0),
        helper.make_node("Neg", ["left"], ["y"]),
    ]
    outputs = {"y": TensorProto.FLOAT, "whole": TensorProto.INT64, "large": TensorProto.BOOL}
    runner = open_runner(model_file(tmp_path, nodes, outputs))
    dumped = runner.run({"x": np.arange(4.0)}, "all")
    assert list(dumped) == ["x", "sum_Add", "whole_Cast", "large_Greater", "left_Split", "unused_Split", "y_Neg"]
    types = [runner.metadata.tensors[name].type for name in dumped]
    assert types == ["f32", "f32", "i64", "i1", "f32", "f32", "f32"]


def test_open_sizes(tmp_path: Path) -> None:
    path = model_file(tmp_path, [helper.make_node("Neg", ["x"], ["y"])], {"y": TensorProto.FLOAT}, "n")
    runner = open_runner(path)
    assert runner.inputs()[0].shape == (None,)
    assert runner.run({"x": np.ones(7, np.float32)})["y_Neg"].shape == (7,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": np.ones(3, np.float32)}, "has shape"),
        ({"z": np.ones(4, np.float32)}, "no input 'z'"),
        ({}, "is missing"),
        ({"x": np.ones(4, np.complex64)}, "is complex64, want float32"),
    ],
)
def test_wrong_inputs(tmp_path: Path, given: dict[str, np.ndarray], said: str) -> None:
    runner = open_runner(model_file(tmp_path, [helper.make_node("Neg", ["x"], ["y"])], {"y": TensorProto.FLOAT}))
    with pytest.raises(InputError, match=said):
        runner.run(given)


def test_onnxruntime_refuses(tmp_path: Path) -> None:
    path = model_file(tmp_path, [helper.make_node("NoSuchOp", ["x"], ["y"])], {"y": TensorProto.FLOAT})
    with pytest.raises(InputError, match="cannot load it") as caught:
        open_runner(path)
    assert "\n" not in str(caught.value) and "NoSuchOp" in str(caught.value)
