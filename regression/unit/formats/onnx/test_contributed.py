"""Operators of onnxruntime's own domain against onnxruntime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner

CASES: list[tuple[str, list[tuple[int, ...]], dict[str, Any], int]] = [
    ("Gelu", [(2, 3, 8)], {}, 1),
    ("BiasGelu", [(2, 3, 8), (8,)], {}, 1),
    ("FastGelu", [(2, 3, 8)], {}, 1),
    ("FastGelu", [(2, 3, 8), (8,)], {}, 1),
    ("QuickGelu", [(2, 3, 8)], {"alpha": 1.5}, 1),
    ("FusedMatMul", [(2, 4, 3), (2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.5}, 1),
    ("FusedMatMul", [(2, 3, 4), (4, 5)], {}, 1),
    ("SkipLayerNormalization", [(2, 3, 8), (2, 3, 8), (8,), (8,), (8,)], {"epsilon": 1e-5}, 1),
    ("SkipLayerNormalization", [(2, 3, 8), (2, 3, 8), (8,)], {"epsilon": 1e-5}, 4),
    ("SkipSimplifiedLayerNormalization", [(2, 3, 8), (2, 3, 8), (8,)], {"epsilon": 1e-5}, 1),
]


@pytest.mark.parametrize(("op_type", "shapes", "attributes", "outputs"), CASES)
def test_contributed_operator(op_type: str, shapes: list[Any], attributes: dict[str, Any], outputs: int) -> None:
    names = [f"x{i}" for i in range(len(shapes))]
    made = [f"y{i}" if i in (0, 3) else "" for i in range(outputs)]
    node = helper.make_node(op_type, names, made, domain="com.microsoft", **attributes)
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in made if n]
    graph = helper.make_graph([node], "contributed", given, ends)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    rng = np.random.default_rng(2)
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in zip(names, shapes, strict=True)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, arrays)
    found = MlirRunner(import_model(onnx.shape_inference.infer_shapes(model), "contributed")).run(arrays)
    for ours, theirs in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
