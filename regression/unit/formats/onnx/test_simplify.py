"""Simplifying in a child process: what it gives, and what happens when it fails, hangs or dies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkout import REGRESSION
from onnx import TensorProto, helper, numpy_helper

from stepdown.errors import InputError
from stepdown.formats.onnx import simplify
from stepdown.formats.onnx.binding import Wishes
from stepdown.formats.onnx.loader import bind_input_shapes, cut_outputs, load_onnx
from stepdown.formats.onnx.simplify import Simplification, counts_text

MNIST = REGRESSION / "model" / "mnist_cnn.onnx"


def constants_model() -> onnx.ModelProto:
    """Return x + (1 + 2), whose sum of constants folds, with an input of an open size."""
    ones = [numpy_helper.from_array(np.array([v], np.float32), n) for v, n in ((1, "one"), (2, "two"))]
    nodes = [helper.make_node("Add", ["one", "two"], ["three"]), helper.make_node("Add", ["x", "three"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], ones)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def simplified(path: Path, shapes: Sequence[tuple[int, ...]] = ()) -> tuple[onnx.ModelProto, str]:
    source = load_onnx(path)
    with Simplification(path, Wishes(shapes)) as child:
        return child.result(source)


def test_constants_fold_and_shapes_bind(tmp_path: Path) -> None:
    source = constants_model()
    onnx.save(source, tmp_path / "m.onnx")
    model, problem = simplified(tmp_path / "m.onnx", [(2, 4)])
    assert problem == ""
    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [2, 4]
    assert counts_text(source, model) == "2 → 1 nodes: Add 2 → 1"


def test_outputs_may_lack_a_shape(tmp_path: Path) -> None:
    source = constants_model()
    source.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(source, tmp_path / "m.onnx")
    model, problem = simplified(tmp_path / "m.onnx", [(2, 4)])
    assert problem == "" and len(model.graph.node) == 1


def test_batch_norm_is_left_to_us() -> None:
    model, problem = simplified(REGRESSION / "mobilenet_v2.onnx", [(1, 3, 224, 224)])
    assert problem == ""
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 52


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("raise SystemExit('no such thing')", "onnxsim failed (no such thing)"),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
        ("open(__import__('sys').argv[2], 'w').write('no model')", "its result cannot be read"),
    ],
)
def test_any_failure_gives_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    module = tmp_path / "stepdown_broken_simplify.py"
    module.write_text(program)
    monkeypatch.setattr(simplify, "__name__", module.stem)
    monkeypatch.setattr(simplify, "environment", lambda: {"PYTHONPATH": str(tmp_path)})
    source = load_onnx(MNIST)
    with Simplification(MNIST, time_limit_s=0.5 if "sleep" in program else 30) as child:
        model, problem = child.result(source)
        folder = child._folder
    assert model is source
    assert said in problem
    assert not folder.exists()


def test_a_larger_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplify, "MAX_GROWTH", 0.1)
    monkeypatch.setattr(simplify, "MAX_GROWTH_BYTES", 0)
    assert "would grow" in simplified(MNIST)[1]


def test_cut(tmp_path: Path) -> None:
    model = load_onnx(REGRESSION / "mobilenet_v2.onnx")
    cut_outputs(model, ["features.0.1_out_BatchNormalization"])
    assert [node.op_type for node in model.graph.node] == ["Conv", "BatchNormalization"]
    assert len(model.graph.initializer) < 8
    with pytest.raises(InputError, match="no node makes"):
        cut_outputs(model, ["pool"])


@pytest.mark.parametrize(
    ("shapes", "said"), [([], "0 shapes for the 1 inputs"), ([(4,)], "has 2 dimensions"), ([(1, 2, 3)], "not 3")]
)
def test_wrong_shapes(shapes: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        bind_input_shapes(constants_model(), shapes)


@pytest.mark.parametrize("raw", [b"", b"hello", MNIST.read_bytes()[:1000]], ids=["empty", "text", "truncated"])
def test_no_model(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(raw)
    with pytest.raises(InputError, match=r"is empty|not an ONNX model"):
        load_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "missing.bin"])
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str) -> None:
    model = constants_model()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(4))
    (tmp_path / "in" / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"outside the model's folder|does not exist"):
        load_onnx(tmp_path / "in" / "m.onnx")


def test_external_data(tmp_path: Path) -> None:
    onnx.save(constants_model(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.data")
    tensors = {t.name: numpy_helper.to_array(t) for t in load_onnx(tmp_path / "m.onnx").graph.initializer}
    assert tensors == {"one": 1, "two": 2}
