"""Functions that a framework wrote out in small ops become one op with the same values."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, parser

from stepdown.dialects.op import fused_of
from stepdown.formats.onnx.importer import import_model
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize

HARD_SWISH = """
    t = Add({x}, three)
    c = Clip(t, zero, six)
    p = Mul({a}, {b})
    y = Div(p, six)
"""
LAYER_NORM = """
    m = ReduceMean<axes = [{axis}], keepdims = {keep}>(x)
    d = Sub(x, m)
    s = {square}
    v = ReduceMean<axes = [-1]>(s)
    e = Add(v, epsilon)
    r = Sqrt(e)
    n = Div(d, r)
    g = Mul(n, gamma)
    y = Add(g, beta)
"""


def model_of(body: str) -> ModelProto:
    text = f"""
        <ir_version: 8, opset_import: ["" : 13]>
        g (float[2, 5, 8] x) => (float[2, 5, 8] y) <
            float three = {{3}}, float zero = {{0}}, float six = {{6}}, float two = {{2}}, float epsilon = {{0.001}},
            float[8] gamma = {{1, 2, 3, 4, 5, 6, 7, 8}}, float[8] beta = {{8, 7, 6, 5, 4, 3, 2, 1}}
        > {{ {body} }}"""
    model = parser.parse_model(text)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return model


def kinds_after(body: str) -> list[str]:
    """Return the op kinds after canonicalisation, once the output is found unchanged and no name lost."""
    model = model_of(body)
    before, after = import_model(model, "net"), import_model(model, "net")
    Canonicalize().run(after)
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32) * 3
    wanted, found = MlirRunner(before).run({"x": x}, "all"), MlirRunner(after).run({"x": x}, "all")
    (name,) = after.output_names
    np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5)
    assert set(wanted) == set(found) | {n for op in after.ops for n in fused_of(op)}
    return [op.name.removeprefix("top.") for op in after.ops if op.name not in ("top.Weight", "top.None", "top.Input")]


@pytest.mark.parametrize(("a", "b"), [("x", "c"), ("c", "x")])
def test_hard_swish(a: str, b: str) -> None:
    assert kinds_after(HARD_SWISH.format(x="x", a=a, b=b)) == ["HardSwish"]


def test_another_gate_is_no_hard_swish() -> None:
    assert "HardSwish" not in kinds_after(HARD_SWISH.format(x="x", a="x", b="c").replace("three", "two"))


@pytest.mark.parametrize("square", ["Pow(d, two)", "Mul(d, d)"])
def test_layer_norm(square: str) -> None:
    assert kinds_after(LAYER_NORM.format(axis=-1, keep=1, square=square)) == ["LayerNorm"]


def test_a_mean_over_other_dimensions_is_no_layer_norm() -> None:
    assert "LayerNorm" not in kinds_after(LAYER_NORM.format(axis=1, keep=1, square="Mul(d, d)"))
