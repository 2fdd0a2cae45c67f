"""One-to-one rows: elementwise functions of one tensor."""

import math
from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.top import activation as top
from stepdown.dialects.top import elementary, logic
from stepdown.dialects.top.arithmetic import Max, Min
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.types import FLOATS
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import RULES, Rule, rule

# ONNX operator → TOP op, and ONNX attribute → (TOP attribute, ONNX default).
ROWS: dict[str, tuple[type[TopOp], dict[str, tuple[str, Any]]]] = {
    "Abs": (elementary.Abs, {}),
    "Acos": (elementary.Acos, {}),
    "Acosh": (elementary.Acosh, {}),
    "Asin": (elementary.Asin, {}),
    "Asinh": (elementary.Asinh, {}),
    "Atan": (elementary.Atan, {}),
    "Atanh": (elementary.Atanh, {}),
    "BitwiseNot": (logic.Not, {}),
    "Ceil": (elementary.Ceil, {}),
    "Celu": (top.Celu, {"alpha": ("alpha", 1.0)}),
    "Cos": (elementary.Cos, {}),
    "Cosh": (elementary.Cosh, {}),
    "Elu": (top.Elu, {"alpha": ("alpha", 1.0)}),
    "Erf": (top.Erf, {}),
    "Exp": (elementary.Exp, {}),
    "Floor": (elementary.Floor, {}),
    "Gelu": (top.Gelu, {"approximate": ("approximate", "none")}),
    "HardSigmoid": (top.HardSigmoid, {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
    "HardSwish": (top.HardSwish, {}),
    "IsInf": (
        logic.IsInf,
        {"detect_negative": ("detect_negative", 1), "detect_positive": ("detect_positive", 1)},
    ),
    "IsNaN": (logic.IsNaN, {}),
    "LeakyRelu": (top.LeakyRelu, {"alpha": ("alpha", 0.01)}),
    "Log": (elementary.Log, {}),
    "Mish": (top.Mish, {}),
    "Neg": (elementary.Neg, {}),
    "Not": (logic.Not, {}),
    "Reciprocal": (elementary.Reciprocal, {}),
    "Relu": (top.Relu, {}),
    "Round": (elementary.Round, {}),
    "Shrink": (top.Shrink, {"bias": ("bias", 0.0), "lambd": ("lambd", 0.5)}),
    "Sigmoid": (top.Sigmoid, {}),
    "Sign": (elementary.Sign, {}),
    "Sin": (elementary.Sin, {}),
    "Sinh": (elementary.Sinh, {}),
    "Softplus": (top.Softplus, {}),
    "Softsign": (top.Softsign, {}),
    "Sqrt": (elementary.Sqrt, {}),
    "Swish": (top.Swish, {"alpha": ("alpha", 1.0)}),
    "Tan": (elementary.Tan, {}),
    "Tanh": (elementary.Tanh, {}),
    "ThresholdedRelu": (top.ThresholdedRelu, {"alpha": ("alpha", 1.0)}),
}


def _row(op: type[TopOp], attributes: dict[str, tuple[str, Any]]) -> Rule:
    def import_unary(node: Node):  # type: ignore[no-untyped-def]
        given = {ours: node.attribute(theirs, default) for theirs, (ours, default) in attributes.items()}
        return node.emit(op, node.value(0), **given)

    return import_unary


RULES.update({onnx_op: _row(op, attributes) for onnx_op, (op, attributes) in ROWS.items()})


@rule("Selu")
def selu(node: Node) -> SSAValue:
    """Selu; its constants had fewer digits before opset 6."""
    alpha, gamma = (1.6732, 1.0507) if node.opset < 6 else (1.6732631921768188, 1.0507010221481323)
    given = {"alpha": node.attribute("alpha", alpha), "gamma": node.attribute("gamma", gamma)}
    return node.emit(top.Selu, node.value(0), **given)


@rule("Clip")
def clip(node: Node) -> SSAValue:
    """Clip: bounds are attributes before opset 11, then operands; computed ones, or of integers, become Max and Min."""
    bounds = _constant_bounds(node)
    if bounds is None:
        return _clip_by_operands(node)
    low, high = bounds
    if low == 0 < high:
        return node.emit(top.Relu, node.value(0), relu_limit=high if math.isfinite(high) else -1.0)
    return node.emit(top.Clip, node.value(0), min=low, max=high)


def _constant_bounds(node: Node) -> tuple[float, float] | None:
    """Return min and max of a float tensor, infinite where absent; None where they are no constants."""
    if node.opset < 11:
        return float(node.attribute("min", -math.inf)), float(node.attribute("max", math.inf))
    low, high = node.constant_or_none(1), node.constant_or_none(2)
    computed = (node.has(1) and low is None) or (node.has(2) and high is None)
    if computed or node.storage(0) not in FLOATS:
        return None
    return -math.inf if low is None else float(low.item()), math.inf if high is None else float(high.item())


def _clip_by_operands(node: Node) -> SSAValue:
    if not node.has(1) and not node.has(2):
        return node.alias(node.value(0))
    if not node.has(2):
        return node.emit(Max, node.value(0), node.value(1))
    raised = node.part("max", Max, node.value(0), node.value(1)) if node.has(1) else node.value(0)
    return node.emit(Min, raised, node.value(2))
