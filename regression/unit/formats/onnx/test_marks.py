"""Exported models remember what is internal and what is stored in another layout."""

import numpy as np
import pytest
from channels_last import Net
from onnx import TensorProto, helper

from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.arithmetic import Add
from stepdown.errors import InputError
from stepdown.formats.onnx.exporter import export_program
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner
from stepdown.transforms.layout import choose_layout


@pytest.fixture
def program():
    """A network stored channels first, of a source with its channels last."""
    net = Net((1, 4, 6, 3))
    made = net.finish(net.conv(net.op(Add, net.op(Relu, net.conv(net.x)), net.weight(3))))
    choose_layout(made)
    return made


def test_an_exported_model_is_dumped_in_the_layout_of_the_source(program, tmp_path):
    """Every tensor, its layout's name, and which are internal, as in a run of the module."""
    (tmp_path / "m.onnx").write_bytes(export_program(program).SerializeToString())
    runner, reference = OnnxRunner(tmp_path / "m.onnx"), MlirRunner(program)
    given = {"x": np.random.default_rng(3).standard_normal((1, 4, 6, 3)).astype(np.float32)}
    found, wanted = runner.run(given, "all"), reference.run(given, "all")
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, 1e-5, 1e-5)
    known, meant = runner.metadata.tensors, reference.metadata.tensors
    assert [known[n].layout for n in ("t1", "t2", "t3", "t4")] == ["NHWC", "NHWC", "NHWC", ""]
    assert {n for n in known if known[n].internal} == {n for n in meant if meant[n].internal} != set()


def test_internal_tensors_without_dimensions_stay_so(tmp_path):
    """The least and the greatest element that DynamicQuantizeLinear takes its scale from."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    ends = [helper.make_empty_tensor_value_info(name) for name in ("y", "scale", "zero")]
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    model = helper.make_model(
        helper.make_graph([node], "g", [value], ends), opset_imports=[helper.make_opsetid("", 17)]
    )
    made = import_model(model, "net")
    (tmp_path / "m.onnx").write_bytes(export_program(made).SerializeToString())
    given = {"x": np.float32([[1, 2, -3], [4, 5, 6]])}
    found, wanted = OnnxRunner(tmp_path / "m.onnx").run(given, "all"), MlirRunner(made).run(given, "all")
    shared = [name for name in wanted if name in found and name.endswith(("/least", "/largest"))]
    assert [found[name].shape for name in shared] == [wanted[name].shape for name in shared] == [(), ()]


@pytest.mark.parametrize("text", ["{", "[]", '{"t1": 3}', '{"t1": {"layout": [0, 2]}}', '{"t1": {"layout": ["a"]}}'])
def test_malformed_marks_are_one_line(program, tmp_path, text):
    """What somebody else wrote there."""
    model = export_program(program)
    model.metadata_props[0].value = text
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="its metadata 'tensors' is malformed"):
        OnnxRunner(tmp_path / "m.onnx")


def test_a_model_without_marks_has_no_metadata():
    """A program in the layout of its source is exported as ever."""
    net = Net((1, 4, 6, 3))
    assert not export_program(net.finish(net.op(Relu, net.x))).metadata_props
