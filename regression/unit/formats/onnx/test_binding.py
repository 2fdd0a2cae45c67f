"""Opening a model as the user wants it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stepdown.formats.onnx.binding import Wishes, open_onnx
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner


def test_nodes_of_one_name_are_told_apart_for_onnxruntime(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    made = [helper.make_node("Neg", ["x"], ["m"], "n"), helper.make_node("Abs", ["m"], ["a"], "n")]
    end = helper.make_tensor_value_info("a", TensorProto.FLOAT, [2])
    inner = helper.make_graph(made, "inner", [], [end])
    nodes = [
        helper.make_node("If", ["c"], ["i"], "n", then_branch=inner, else_branch=inner),
        helper.make_node("Neg", ["i"], ["y"], "n"),
    ]
    constants = [numpy_helper.from_array(np.array(True), "c")]
    proto = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants), ir_version=8)
    proto.opset_import[0].version = 17
    onnx.save(proto, tmp_path / "net.onnx")
    assert [node.name for node in open_onnx(tmp_path / "net.onnx", Wishes()).graph.node] == ["", ""]
    found = OnnxRunner(tmp_path / "net.onnx").run({"x": np.float32([1, -2])})
    np.testing.assert_array_equal(found["y_Neg"], np.float32([-1, -2]))


def test_outputs_that_repeat_another_value_are_called_as_their_nodes_call_them(tmp_path: Path) -> None:
    """A constant, an input, and a value that is an output already: nothing is left of the nodes that make them."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    made = {"size": TensorProto.INT64, "kept": TensorProto.FLOAT, "y": TensorProto.FLOAT, "z": TensorProto.FLOAT}
    ends = [helper.make_tensor_value_info(name, kind, None) for name, kind in made.items()]
    pairs = [("Size", "x", "size"), ("Dropout", "x", "kept"), ("Neg", "x", "y"), ("Dropout", "y", "z")]
    nodes = [helper.make_node(op, [read], [name]) for op, read, name in pairs]
    proto = helper.make_model(helper.make_graph(nodes, "g", [value], ends), ir_version=8)
    proto.opset_import[0].version = 17
    onnx.save(proto, tmp_path / "net.onnx")
    given = {"x": np.float32([1, -2])}
    found, wanted = MlirRunner(import_model(proto, "net")).run(given), OnnxRunner(tmp_path / "net.onnx").run(given)
    assert list(found) == list(wanted) == ["size_Size", "kept_Dropout", "y_Neg", "z_Dropout"]
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
