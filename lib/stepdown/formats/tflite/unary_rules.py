"""Elementwise functions of one tensor, and tests along a dimension."""

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top import activation as act
from stepdown.dialects.top import elementary as ele
from stepdown.dialects.top.arithmetic import Mul, PRelu
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.logic import Not
from stepdown.dialects.top.normalization import LRN, LpNorm
from stepdown.dialects.top.softmax import LogSoftmax, Softmax
from stepdown.dialects.types import shape_of
from stepdown.formats.tflite.loader import TYPES
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import RULES, rule

ROWS: dict[str, tuple[type[TensorOp], dict[str, Any]]] = {
    "ABS": (ele.Abs, {}),
    "CEIL": (ele.Ceil, {}),
    "COS": (ele.Cos, {}),
    "ELU": (act.Elu, {}),
    "EXP": (ele.Exp, {}),
    "FLOOR": (ele.Floor, {}),
    "HARD_SWISH": (act.HardSwish, {}),
    "LOG": (ele.Log, {}),
    "LOGICAL_NOT": (Not, {}),
    "LOGISTIC": (act.Sigmoid, {}),
    "NEG": (ele.Neg, {}),
    "RELU": (act.Relu, {}),
    "RELU6": (act.Relu, {"relu_limit": 6.0}),
    "RELU_0_TO_1": (act.Relu, {"relu_limit": 1.0}),
    "RELU_N1_TO_1": (act.Clip, {"min": -1.0, "max": 1.0}),
    "ROUND": (ele.Round, {}),
    "RSQRT": (act.PowScalar, {"exponent": -0.5}),
    "SIGN": (ele.Sign, {}),
    "SIN": (ele.Sin, {}),
    "SQRT": (ele.Sqrt, {}),
    "TANH": (ele.Tanh, {}),
}
"""Operators that are one TOP op without options."""


def _row(op: type[TensorOp], attributes: dict[str, Any]) -> Any:
    def one_to_one(node: Node) -> SSAValue:
        return node.emit(op, node.given(0), **attributes)

    return one_to_one


RULES.update({op_type: _row(op, attributes) for op_type, (op, attributes) in ROWS.items()})


@rule("LEAKY_RELU")
def leaky_relu(node: Node) -> SSAValue:
    """X where it is positive, Alpha · x elsewhere."""
    return node.emit(act.LeakyRelu, node.given(0), alpha=float(node.attribute("Alpha", 0.0)))


@rule("PRELU")
def prelu(node: Node) -> SSAValue:
    """X where it is positive, alpha · x elsewhere."""
    return node.emit(PRelu, node.given(0), node.given(1))


@rule("GELU")
def gelu(node: Node) -> SSAValue:
    """X · Φ(x), or its approximation by tanh."""
    chosen = "tanh" if node.attribute("Approximate", False) else "none"
    return node.emit(act.Gelu, node.given(0), approximate=chosen)


@rule("SQUARE")
def square(node: Node) -> SSAValue:
    """X · x."""
    return node.emit(Mul, node.given(0), node.given(0))


@rule("CAST")
def cast(node: Node) -> SSAValue:
    """Another element type; the result's own type decides, the option may be absent."""
    return node.emit(Cast, node.given(0), to=TYPES[node.attribute("OutDataType", 0)][0])


@rule("SOFTMAX")
def softmax(node: Node) -> SSAValue:
    """Softmax of Beta · x along the last dimension."""
    beta, value = float(node.attribute("Beta", 0.0)), node.given(0)
    if beta == 1.0:
        return node.emit(Softmax, value, axis=-1)
    if node.params:
        raise node.refuse(f"has the factor {beta:g} and integers")
    scaled = node.part("scaled", Mul, value, node.weight(np.array([beta], np.float32), "beta"))
    return node.emit(Softmax, scaled, axis=-1)


@rule("LOG_SOFTMAX")
def log_softmax(node: Node) -> SSAValue:
    """Ln of softmax along the last dimension."""
    return node.emit(LogSoftmax, node.given(0), axis=-1)


@rule("L2_NORMALIZATION")
def l2_normalization(node: Node) -> SSAValue:
    """X / √Σx² along the last dimension."""
    return node.activated(LpNorm, node.given(0), axis=len(shape_of(node.given(0))) - 1, p=2)


@rule("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(node: Node) -> SSAValue:
    """X / (Bias + Alpha · Σ x² over Radius channels to each side)^Beta."""
    size = 2 * int(node.attribute("Radius", 0)) + 1
    alpha = float(node.attribute("Alpha", 0.0)) * size  # LRN divides it by the size
    first = node.channels_first(node.given(0))
    bias, beta = float(node.attribute("Bias", 0.0)), float(node.attribute("Beta", 0.0))
    return node.channels_last(LRN, first, size=size, alpha=alpha, beta=beta, bias=bias)
