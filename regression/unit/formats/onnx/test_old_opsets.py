"""What older operator sets mean by the same operators: the backend node tests hold only the newest."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
CHANNEL = np.array([1, -2, 3], np.float32)


def run(op_type: str, opset: int, *operands: np.ndarray, outputs: int = 1, **attributes: Any) -> list[np.ndarray]:
    """Run one node; all operands but the first are initializers."""
    names = [f"x{i}" for i in range(len(operands))]
    made = [f"y{i}" for i in range(outputs)]
    values = [helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, operands[0].shape)]
    constants = [onnx.numpy_helper.from_array(a, n) for a, n in zip(operands[1:], names[1:], strict=True)]
    node = helper.make_node(op_type, names, made, **attributes)
    results = [helper.make_empty_tensor_value_info(name) for name in made]
    graph = helper.make_graph([node], "graph", values, results, constants)
    program = import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), "net")
    return list(MlirRunner(program).run({"x0": operands[0]}).values())


def test_operands_aligned_at_an_axis() -> None:
    expected = X + CHANNEL[:, None, None]
    np.testing.assert_array_equal(run("Add", 6, X, CHANNEL, broadcast=1, axis=1)[0], expected)
    np.testing.assert_array_equal(run("Add", 6, X, CHANNEL, broadcast=1, axis=-3)[0], expected)
    np.testing.assert_array_equal(run("Add", 6, X, X[0, 0, 0], broadcast=1)[0], X + X[0, 0, 0])
    compared = run("Greater", 1, X, CHANNEL, broadcast=1, axis=1)[0]
    np.testing.assert_array_equal(compared, CHANNEL[:, None, None] < X)


def test_prelu_has_a_slope_a_channel() -> None:
    expected = np.where(X < 0, X * CHANNEL[:, None, None], X)
    np.testing.assert_array_equal(run("PRelu", 6, X, CHANNEL)[0], expected)


def test_softmax_is_over_all_later_dimensions() -> None:
    np.testing.assert_allclose(run("Softmax", 11, X)[0].sum((1, 2, 3)), 1, rtol=1e-6)
    np.testing.assert_allclose(run("Softmax", 11, X, axis=-1)[0].sum(3), 1, rtol=1e-6)
    np.testing.assert_allclose(run("Softmax", 13, X, axis=1)[0].sum(1), 1, rtol=1e-6)


def test_axes_and_bounds_as_attributes() -> None:
    np.testing.assert_array_equal(run("ReduceMax", 11, X, axes=[1, -1], keepdims=0)[0], X.max((1, 3)))
    np.testing.assert_array_equal(run("Clip", 6, X, min=-0.5)[0], np.maximum(X, np.float32(-0.5)))
    np.testing.assert_array_equal(run("Clip", 6, X, min=0.0, max=0.25)[0], np.clip(X, 0, np.float32(0.25)))


def test_dropout_and_its_mask() -> None:
    kept, mask = run("Dropout", 7, X, outputs=2)
    np.testing.assert_array_equal(kept, X)
    assert mask.dtype == np.float32 and mask.all()
    assert run("Dropout", 10, X, outputs=2)[1].dtype == np.bool_


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "reason"),
    [
        ("Dropout", [X], {}, "training is not supported"),
        ("BatchNormalization", [X, *[CHANNEL] * 4], {}, "training is not supported"),
        ("BatchNormalization", [X, *[CHANNEL] * 4], {"is_test": 1, "spatial": 0}, "spatial=0"),
    ],
)
def test_refused(op_type: str, operands: list[np.ndarray], attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        run(op_type, 6, *operands, **attributes)
