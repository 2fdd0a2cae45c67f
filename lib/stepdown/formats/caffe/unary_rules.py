"""Elementwise functions of one blob."""

import math

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import activation as top
from stepdown.dialects.top.arithmetic import Add, Mul, PRelu
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.elementary import Abs, Exp, Log, Tanh
from stepdown.dialects.top.logic import Compare
from stepdown.formats.caffe.node import Node, Step
from stepdown.formats.caffe.rules import RULES, Rule, rule

# Layer type → TOP op, and TOP attribute → Caffe's field of the layer's parameters.
ROWS: dict[str, tuple[type[TopOp], str, dict[str, str]]] = {
    "AbsVal": (Abs, "", {}),
    "BNLL": (top.Softplus, "", {}),
    "Clip": (top.Clip, "clip_param", {"min": "min", "max": "max"}),
    "ELU": (top.Elu, "elu_param", {"alpha": "alpha"}),
    "Sigmoid": (top.Sigmoid, "", {}),
    "Swish": (top.Swish, "swish_param", {"alpha": "beta"}),
    "TanH": (Tanh, "", {}),
}


def _row(op: type[TopOp], param: str, fields: dict[str, str]) -> Rule:
    def import_unary(node: Node) -> SSAValue:
        given = {ours: getattr(getattr(node.message, param), theirs) for ours, theirs in fields.items()}
        return node.emit(op, node.value(0), **given)

    return import_unary


RULES.update({name: _row(*row) for name, row in ROWS.items()})


def affine(node: Node, scale: float, shift: float) -> list[Step]:
    """Return the steps of scale · x + shift."""
    steps = [] if scale == 1 else [Step("scaled", Mul, [node.scalar(scale, "scale")])]
    return steps if shift == 0 else [*steps, Step("shifted", Add, [node.scalar(shift, "shift")])]


@rule("ReLU")
def relu(node: Node) -> SSAValue:
    """max(x, 0) + negative_slope · min(x, 0)."""
    slope = node.message.relu_param.negative_slope
    if slope == 0:
        return node.emit(top.Relu, node.value(0))
    return node.emit(top.LeakyRelu, node.value(0), alpha=slope)


@rule("ReLU6")
def relu6(node: Node) -> SSAValue:
    """min(max(x, 0), 6)."""
    return node.emit(top.Relu, node.value(0), relu_limit=6.0)


@rule("PReLU")
def prelu(node: Node) -> SSAValue:
    """A slope a channel, or one for all."""
    shape, shared = node.shape(0), node.message.prelu_param.channel_shared
    node.expect_blobs(1)
    count = 1 if shared or len(shape) < 2 else shape[1]
    slope = node.array(0, (count,)).reshape(-1, *[1] * (len(shape) - 2))
    return node.emit(PRelu, node.value(0), node.stored(slope, "slope"))


@rule("Power")
def power(node: Node) -> SSAValue:
    """(shift + scale · x)^power. Source: Caffe PowerLayer."""
    param = node.message.power_param
    last = [] if param.power == 1 else [Step("power", top.PowScalar, (), {"exponent": param.power})]
    return node.chain(node.value(0), [*affine(node, param.scale, param.shift), *last])


@rule("Exp")
def exp(node: Node) -> SSAValue:
    """base^(shift + scale · x); base −1 stands for e. Source: Caffe ExpLayer."""
    param = node.message.exp_param
    factor = _log_of_base(node, param.base)
    return node.chain(node.value(0), [*affine(node, param.scale * factor, param.shift * factor), Step("exp", Exp)])


@rule("Log")
def log(node: Node) -> SSAValue:
    """The logarithm of shift + scale · x to the base; base −1 stands for e. Source: Caffe LogLayer."""
    param = node.message.log_param
    factor = 1 / _log_of_base(node, param.base)
    last = [] if factor == 1 else [Step("based", Mul, [node.scalar(factor, "base")])]
    return node.chain(node.value(0), [*affine(node, param.scale, param.shift), Step("log", Log), *last])


@rule("Threshold")
def threshold(node: Node) -> SSAValue:
    """1 where x is above the threshold, else 0."""
    limit = node.weight(np.array(node.message.threshold_param.threshold, np.float32), "threshold")
    return node.emit(Cast, node.part("above", Compare, node.value(0), limit, mode="Greater"), to="f32")


def _log_of_base(node: Node, base: float) -> float:
    if base == -1:
        return 1.0
    if base <= 0 or base == 1:
        raise node.refuse(f"base {base}")
    return math.log(base)
