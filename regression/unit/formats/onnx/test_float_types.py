"""Networks of 16-bit and of 64-bit floats: their types stay, and they compute what onnxruntime computes."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepdown.dialects.program import Program, read_program
from stepdown.dialects.types import is_none, storage_of
from stepdown.formats.onnx.importer import import_model
from stepdown.numerics.floats import round_bf16
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize

TYPES: dict[str, tuple[int, Any]] = {
    "f32": (TensorProto.FLOAT, np.float32), "f16": (TensorProto.FLOAT16, np.float16),
    "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16), "f64": (TensorProto.DOUBLE, np.float64),
}  # fmt: skip
SHAPE = (4, 6)
node = helper.make_node


def model(kind: str, nodes: list[onnx.NodeProto], **held: np.ndarray) -> onnx.ModelProto:
    number, dtype = TYPES[kind]
    ends = [helper.make_tensor_value_info(name, number, shape) for name, shape in (("x", SHAPE), ("y", None))]
    constants = [numpy_helper.from_array(np.asarray(a).astype(dtype), n) for n, a in held.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def layers(kind: str) -> onnx.ModelProto:
    """Return two layers; the bias of the second one is computed from constants."""
    rng = np.random.default_rng(0)
    half = node("Constant", [], ["k"], value=numpy_helper.from_array(np.full(3, 0.3).astype(TYPES[kind][1])))
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["m"]),
        half, node("Mul", ["k", "k"], ["kk"]), node("Add", ["m", "kk"], ["s"]), node("Softmax", ["s"], ["y"], axis=1),
    ]  # fmt: skip
    sizes = {"w": (6, 5), "b": (5,), "v": (5, 3)}
    return model(kind, nodes, **{n: rng.normal(size=size) for n, size in sizes.items()})


def x_of(kind: str) -> np.ndarray:
    return np.random.default_rng(1).normal(size=SHAPE).astype(TYPES[kind][1])


def run(program: Program, kind: str, wanted: str = "outputs") -> dict[str, np.ndarray]:
    given = x_of(kind)
    return dict(MlirRunner(program).run({"x": given.astype(np.float32) if kind == "bf16" else given}, wanted))


@pytest.mark.parametrize("kind", TYPES)
def test_types_stay(kind: str, tmp_path: Path) -> None:
    program = import_model(layers(kind), "net")
    Canonicalize().run(program)
    assert {storage_of(r) for op in program.ops for r in op.results if not is_none(r)} == {kind}
    program.write(tmp_path / "net.mlir")
    ours, again = run(program, kind, "all"), run(read_program(tmp_path / "net.mlir"), kind, "all")
    assert {a.dtype for a in ours.values()} == {np.dtype(np.float32 if kind == "bf16" else TYPES[kind][1])}
    for name, array in ours.items():
        np.testing.assert_array_equal(array, again[name])


@pytest.mark.parametrize(("kind", "bound"), [("f32", 1e-6), ("f16", 2e-3), ("f64", 1e-15)])
def test_as_onnxruntime(kind: str, bound: float) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(layers(kind).SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x_of(kind)})[0]
    np.testing.assert_allclose(run(import_model(layers(kind), "net"), kind)["y_Softmax"], expected, rtol=0, atol=bound)


def test_bfloat16_is_float32_of_rounded_numbers() -> None:
    """It has no kernels in onnxruntime: the same network in float32, of the numbers that bfloat16 holds."""
    wide = layers("f32")
    for held in [*wide.graph.initializer, wide.graph.node[3].attribute[0].t]:
        held.CopyFrom(numpy_helper.from_array(round_bf16(numpy_helper.to_array(held)), held.name))
    expected = MlirRunner(import_model(wide, "net")).run({"x": x_of("bf16").astype(np.float32)})["y_Softmax"]
    np.testing.assert_allclose(run(import_model(layers("bf16"), "net"), "bf16")["y_Softmax"], expected, rtol=4e-3)


def test_a_folded_bfloat16_constant_is_rounded_once() -> None:
    nodes = [node("Mul", ["k", "k"], ["kk"]), node("Add", ["x", "kk"], ["y"])]
    program = import_model(model("bf16", nodes, k=np.array([0.3])), "net")
    third = round_bf16(np.float32([0.3]))
    assert program.weights["kk_Mul"] == round_bf16(third * third)
