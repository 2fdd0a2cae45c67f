"""Elementwise functions of two or more tensors."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import arithmetic as top
from stepdown.dialects.top.activation import PowScalar, Swish
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.types import FLOATS
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

BINARY: dict[str, type[TopOp]] = {"Add": top.Add, "Sub": top.Sub, "Mul": top.Mul, "Div": top.Div}
VARIADIC: dict[str, type[TopOp]] = {"Sum": top.Add, "Max": top.Max, "Min": top.Min}


def operands(node: Node) -> tuple[SSAValue, SSAValue]:
    """Return both operands; before opset 7 `axis` says where the second one's dimensions lie in the first's."""
    left, right = node.value(0), node.value(1)
    axis = node.attribute("axis")
    if node.opset >= 7 or not node.attribute("broadcast", 0) or axis is None:
        return left, right
    rank, shape = len(node.shape(0)), node.shape(1)
    behind = rank - axis % rank - len(shape)
    return left, node.part("aligned", Reshape, right, shape=(*shape, *[1] * behind))


@rule(*BINARY)
def binary(node: Node) -> SSAValue:
    """Add, Sub, Mul, Div."""
    return node.emit(BINARY[node.op_type], *operands(node))


@rule(*VARIADIC)
def variadic(node: Node) -> SSAValue:
    """Sum, Max, Min of one tensor or more."""
    if len(node.inputs) == 1:
        return node.alias(node.value(0))
    return node.emit(VARIADIC[node.op_type], *node.values())


@rule("Mean")
def mean(node: Node) -> SSAValue:
    """The sum of the operands times 1 / their number."""
    count = len(node.inputs)
    if count == 1:
        return node.alias(node.value(0))
    dtype = {"f16": np.float16, "f64": np.float64}.get(node.storage(0), np.float32)
    return node.emit(
        top.Mul, node.part("sum", top.Add, *node.values()), node.weight(np.array(1 / count, dtype), "share")
    )


@rule("Pow")
def power(node: Node) -> SSAValue:
    """Pow; a constant scalar exponent of a float tensor becomes an attribute."""
    exponent = node.constant_or_none(1)
    scalar = exponent is not None and exponent.size == 1 and exponent.ndim <= len(node.shape(0))
    if exponent is not None and scalar and node.storage(0) in FLOATS:
        return node.emit(PowScalar, node.value(0), exponent=float(exponent.item()))
    return node.emit(top.Pow, *operands(node))


@rule("Mod")
def modulo(node: Node) -> SSAValue:
    """Mod of both signs."""
    return node.emit(top.Mod, node.value(0), node.value(1), fmod=node.attribute("fmod", 0))


@rule("PRelu")
def prelu(node: Node) -> SSAValue:
    """PRelu; before opset 7 a slope of several values has one a channel."""
    slope, (shape, rank) = node.value(1), (node.shape(1), len(node.shape(0)))
    if node.opset < 7 and len(shape) == 1 and shape[0] > 1:
        slope = node.part("slope", Reshape, slope, shape=(*shape, *[1] * (rank - 2)))
    return node.emit(top.PRelu, node.value(0), slope)


@rule("BitShift")
def bit_shift(node: Node) -> SSAValue:
    """BitShift."""
    return node.emit(top.BitShift, node.value(0), node.value(1), direction=node.attribute("direction"))


@rule("SwiGLU")
def swiglu(node: Node) -> SSAValue:
    """Swish(A) × B."""
    return node.emit(
        top.Mul, node.part("gate", Swish, node.value(0), alpha=node.attribute("alpha", 1.0)), node.value(1)
    )
