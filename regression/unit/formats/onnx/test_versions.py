"""Operator sets: old ones are converted in a child process, newer ones refused; functions of a model's own."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkout import REGRESSION, run
from onnx import TensorProto, helper, numpy_helper

from stepdown.errors import InputError, StepError, UnsupportedModel
from stepdown.formats.onnx import local_functions, versions
from stepdown.formats.onnx.binding import Wishes, open_onnx
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.onnx.loader import load_onnx
from stepdown.formats.onnx.versions import NEWEST, OLDEST, RELEASED, modernised, opset_of, restate
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.onnx import OnnxRunner

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
node = helper.make_node


def model(
    nodes: list[onnx.NodeProto], opset: int, functions: Any = (), domains: Any = (), **held: Any
) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in held.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


# --- versions


def test_newest_is_what_the_standard_has() -> None:
    assert onnx.defs.onnx_opset_version() == NEWEST


def test_known_versions_are_left_alone() -> None:
    for opset in (OLDEST, 17, NEWEST):
        proto = model([node("Relu", ["x"], ["y"])], opset)
        assert modernised(proto) is proto


def test_unreleased_versions_are_restated_where_their_operators_are_older(tmp_path: Path) -> None:
    proto = model([node("Swish", ["x"], ["s"]), node("Relu", ["s"], ["y"])], NEWEST)
    onnx.save(proto, tmp_path / "net.onnx")
    assert opset_of(open_onnx(tmp_path / "net.onnx", Wishes())) == 24  # that of Swish
    np.testing.assert_array_equal(OnnxRunner(tmp_path / "net.onnx").run({"x": -abs(X)})["y_Relu"], np.zeros_like(X))


def test_operators_of_an_unreleased_version_keep_it() -> None:
    newest = next(s.name for s in onnx.defs.get_all_schemas() if s.since_version > RELEASED and s.domain == "")
    proto = model([node(newest, ["x"], ["y"])], NEWEST)
    restate(proto)
    assert opset_of(proto) == NEWEST


@pytest.mark.parametrize("opset", range(1, OLDEST))
def test_old_versions_are_converted(opset: int) -> None:
    legacy = {"consumed_inputs": [0]} if opset < 6 else {}
    nodes = [node("Relu", ["x"], ["r"], **legacy), node("Add", ["r", "c"], ["y"], broadcast=1, axis=1, **legacy)]
    made = modernised(model(nodes, opset, c=np.float32([1, 2, 3])))
    assert opset_of(made) == OLDEST
    result = MlirRunner(import_model(made, "net")).run({"x": X})["y_Add"]
    np.testing.assert_array_equal(result, np.maximum(X, 0) + np.float32([1, 2, 3]))


@pytest.mark.parametrize("axis", [1, -3])
def test_operands_aligned_at_an_axis_are_converted(axis: int) -> None:
    """With as many channels as samples, a wrong alignment would go unseen."""
    channel, x = np.float32([10, 20]), np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    proto = model([node("Add", ["x", "c"], ["y"], broadcast=1, axis=axis)], 6, c=channel)
    for value in (*proto.graph.input, *proto.graph.output):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, x.shape))
    result = MlirRunner(import_model(modernised(proto), "net")).run({"x": x})["y_Add"]
    np.testing.assert_array_equal(result, x + channel[:, None, None])


def test_operands_aligned_at_an_axis_need_shapes() -> None:
    nodes = [node("Wavelet", ["x"], ["w"], domain="my"), node("Add", ["w", "c"], ["y"], broadcast=1, axis=0)]
    with pytest.raises(UnsupportedModel, match="the shapes of what Add of 'y' reads are not known"):
        modernised(model(nodes, 6, domains=["my"], c=np.float32([1, 2, 3])))


def test_what_cannot_be_converted_is_told_in_one_line() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        modernised(model([node("Wavelet", ["x"], ["y"])], 5))
    text = str(caught.value)
    assert text.startswith("is written in operator set 5, which onnx cannot convert to 7 (") and "\n" not in text
    assert text.endswith("; export it in operator set 7 or newer")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "it was ended by signal 6"),
        ("import time; time.sleep(60)", "it took longer than 0.5 s"),
        ("raise SystemExit('out of luck')", "out of luck"),
    ],
)
def test_a_converter_that_dies(program: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(program)
    monkeypatch.setattr(versions, "environment", lambda: {"PYTHONPATH": str(tmp_path)})
    if "sleep" in program:
        monkeypatch.setattr(versions, "TIME_LIMIT_S", 0.5)
    with pytest.raises(UnsupportedModel) as caught:
        modernised(model([node("Relu", ["x"], ["y"])], 6))
    assert reason in str(caught.value)


def test_the_future_is_refused() -> None:
    proto = model([node("Relu", ["x"], ["y"])], NEWEST + 1)
    for refuse in (modernised, lambda m: import_model(m, "net")):
        with pytest.raises(UnsupportedModel) as caught:
            refuse(proto)
        assert str(caught.value) == "is written in operator set 29, we know those up to 28; export it in an older one"


def test_the_tool_converts_and_checks(tmp_path: Path) -> None:
    proto = model([node("Mul", ["x", "c"], ["y"], broadcast=1, axis=0)], 6, c=np.float32([1, 2]))
    onnx.save(proto, tmp_path / "old.onnx")
    np.savez(tmp_path / "in.npz", x=X)
    command = [
        REGRESSION.parent / "tools" / "model_transform.py", "--model_name", "old", "--model_def", tmp_path / "old.onnx",
        "--mlir", tmp_path / "old.mlir", "--test_input", tmp_path / "in.npz",
    ]  # fmt: skip
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "npz compare PASSED" in done.stdout


# --- functions


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], list(nodes), opsets)


def call(name: str, source: str, made: str) -> onnx.NodeProto:
    return node(name, [source], [made], domain="own")


def saved(folder: Path, functions: list[onnx.FunctionProto], *nodes: onnx.NodeProto) -> Path:
    path = folder / "functions.onnx"
    onnx.save(model(list(nodes), 17, functions, ["own"]), path)
    return path


def test_functions_are_put_in_the_place_of_calls(tmp_path: Path) -> None:
    twice = function("Twice", node("Add", ["a", "a"], ["b"]))
    deep = function("Deep", call("Twice", "a", "t"), node("Neg", ["t"], ["u"]), call("Twice", "u", "b"))
    path = saved(tmp_path, [twice, deep], call("Deep", "x", "h"), node("Relu", ["h"], ["y"]))
    program = import_model(load_onnx(path), "net")
    ours, theirs = MlirRunner(program).run({"x": X}, "all"), OnnxRunner(path).run({"x": X}, "all")
    np.testing.assert_array_equal(ours["y_Relu"], np.maximum(-4 * X, 0))
    assert set(ours) == set(theirs) and len(ours) == 5
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    one, other = function("One", call("Other", "a", "b")), function("Other", call("One", "a", "b"))
    with pytest.raises(InputError, match=r"functions\.onnx: the function 'One' calls itself"):
        load_onnx(saved(tmp_path, [one, other], call("One", "x", "y")))


def test_functions_that_grow_without_end(tmp_path: Path) -> None:
    leaf = function("F0", node("Neg", ["a"], ["b"]))
    levels = [function(f"F{i}", call(f"F{i - 1}", "a", "m"), call(f"F{i - 1}", "m", "b")) for i in range(1, 30)]
    with pytest.raises(UnsupportedModel, match=f"its functions come to more than {local_functions.MAX_NODES} nodes"):
        load_onnx(saved(tmp_path, [leaf, *levels], call("F29", "x", "y")))
    chain = [function(f"F{i}", call(f"F{i - 1}", "a", "b")) for i in range(1, 100)]
    with pytest.raises(StepError, match="functions call each other more than 64 deep"):
        load_onnx(saved(tmp_path, [leaf, *chain], call("F99", "x", "y")))
