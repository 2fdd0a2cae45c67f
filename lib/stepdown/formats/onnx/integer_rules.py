"""Operators on quantised tensors: real numbers between a Dequantize of every operand and a Quantize of the result."""

import math

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.activation import LeakyRelu, Sigmoid
from stepdown.dialects.top.arithmetic import Add, Mul, Sub
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.top.move import Concat, Reshape, Transpose
from stepdown.dialects.top.pool import AveragePool
from stepdown.dialects.top.softmax import Softmax
from stepdown.dialects.types import shape_of, storage_of
from stepdown.formats.onnx.mac_rules import spatial, window_pads
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.quantize_rules import quantized, real_bias, real_operand
from stepdown.formats.onnx.rules import rule
from stepdown.numerics.accumulate import F32_EXACT

_LARGEST_PRODUCT = 255 * 255
_PAIRS: dict[str, type[TopOp]] = {"QLinearAdd": Add, "QLinearMul": Mul}


@rule("QLinearConv")
def qlinear_conv(node: Node) -> SSAValue:
    """Conv of x with w and an int32 bias at the scale of the products. Source: ONNX QLinearConv-10."""
    kernel = list(node.shape(3)[2:])
    scale = node.part("bias_scale", Mul, node.given(1), node.given(4)) if node.has(8) else node.graph.none
    operands = [real_operand(node, 0, "x"), real_operand(node, 3, "w", 0), real_bias(node, 8, scale)]
    y = node.part("real", Conv, *operands, **_window(node, kernel, node.shape(0)[2:]))
    return quantized(node, y, node.given(6), node.given(7))


@rule("QLinearMatMul")
def qlinear_matmul(node: Node) -> SSAValue:
    """MatMul of a, one scale or one a row, and b, one scale or one a column. Source: ONNX QLinearMatMul-21."""
    rows = -2 if len(node.shape(0)) > 1 else -1
    operands = [real_operand(node, 0, "a", rows), real_operand(node, 3, "b")]
    y = node.part("real", MatMul, *operands, node.graph.none)
    return quantized(node, y, node.given(6), node.given(7))


@rule("ConvInteger")
def conv_integer(node: Node) -> SSAValue:
    """The int32 sums of (x − x_zero_point)·(w − w_zero_point). Source: ONNX ConvInteger-10."""
    shape = node.shape(1)
    kind = _exact(math.prod(shape[1:]))
    w = _centred(node, 1, 3, kind, (-1, *[1] * (len(shape) - 1)))
    operands = [_centred(node, 0, 2, kind), w, node.graph.none]
    sums = node.part("sums", Conv, *operands, **_window(node, list(shape[2:]), node.shape(0)[2:]))
    return node.emit(Cast, sums, to="i32")


@rule("MatMulInteger")
def matmul_integer(node: Node) -> SSAValue:
    """The int32 sums of (a − a_zero_point)·(b − b_zero_point). Source: ONNX MatMulInteger-10."""
    kind = _exact(node.shape(0)[-1])
    operands = [_centred(node, 0, 2, kind, (-1, 1)), _centred(node, 1, 3, kind, (-1,)), node.graph.none]
    return node.emit(Cast, node.part("sums", MatMul, *operands), to="i32")


@rule(*(f"com.microsoft.{name}" for name in _PAIRS))
def qlinear_pair(node: Node) -> SSAValue:
    """QLinearAdd, QLinearMul. Source: onnxruntime ContribOperators."""
    y = node.part("real", _PAIRS[node.op_type], real_operand(node, 0, "a"), real_operand(node, 3, "b"))
    return quantized(node, y, node.given(6), node.value(7), node.storage(0))


@rule("com.microsoft.QLinearSigmoid")
def qlinear_sigmoid(node: Node) -> SSAValue:
    """QLinearSigmoid. Source: onnxruntime ContribOperators."""
    return _one_to_one(node, node.part("real", Sigmoid, real_operand(node, 0, "x")))


@rule("com.microsoft.QLinearLeakyRelu")
def qlinear_leaky_relu(node: Node) -> SSAValue:
    """QLinearLeakyRelu. Source: onnxruntime ContribOperators."""
    alpha = node.attribute("alpha", 0.01)
    return _one_to_one(node, node.part("real", LeakyRelu, real_operand(node, 0, "x"), alpha=alpha))


@rule("com.microsoft.QLinearSoftmax")
def qlinear_softmax(node: Node) -> SSAValue:
    """QLinearSoftmax; before opset 13 along all dimensions from `axis` on. Source: onnxruntime ContribOperators."""
    flat = node.attribute("opset", node.opset) < 13
    axis = node.attribute("axis", 1 if flat else -1)
    return _one_to_one(node, node.part("real", Softmax, real_operand(node, 0, "x"), axis=axis, flat=flat))


@rule("com.microsoft.QLinearGlobalAveragePool")
def qlinear_global_average_pool(node: Node) -> SSAValue:
    """The mean of all positions. Source: onnxruntime ContribOperators."""
    return _pool(node, {"kernel_shape": None})


@rule("com.microsoft.QLinearAveragePool")
def qlinear_average_pool(node: Node) -> SSAValue:
    """QLinearAveragePool. Source: onnxruntime ContribOperators."""
    return _pool(node, {n: node.attribute(n, 0) for n in ("ceil_mode", "count_include_pad")})


@rule("com.microsoft.QLinearConcat")
def qlinear_concat(node: Node) -> SSAValue:
    """Concat of tensors of different scales. Source: onnxruntime ContribOperators."""
    parts = [real_operand(node, i, f"x{i // 3}") for i in range(2, len(node.inputs), 3)]
    y = node.part("real", Concat, *parts, axis=node.attribute("axis"))
    return quantized(node, y, node.given(0), node.given(1))


@rule("com.microsoft.QGemm")
def qgemm(node: Node) -> SSAValue:
    """alpha·A'·B' + C, C int32 at the scale of the products; float without y_scale. Source: ContribOperators."""
    alpha, columns = float(node.attribute("alpha", 1.0)), 0 if node.attribute("transB", 0) else -1
    left, right = real_operand(node, 0, "a"), real_operand(node, 3, "b", columns)
    if node.attribute("transA", 0):
        left = node.part("a_transposed", Transpose, left, order=[1, 0])
    scale = node.part("product_scale", Mul, node.given(1), node.given(4))
    if alpha != 1.0:
        scale = node.part("bias_scale", Mul, scale, node.weight(np.array(alpha, np.float32), "alpha"))
    y = _gemm(node, left, right, alpha, real_bias(node, 6, scale))
    return quantized(node, y, node.given(7), node.value(8), storage_of(node.value(0))) if node.has(7) else y


def _gemm(node: Node, left: SSAValue, right: SSAValue, alpha: float, bias: SSAValue) -> SSAValue:
    """Emit the product in real numbers; it is the node's own output where that is float."""
    none, transposed = node.graph.none, bool(node.attribute("transB", 0))
    plain = bias is none or len(shape_of(bias)) == 1
    made = [left, right, bias if plain and alpha == 1.0 else none]
    last = alpha == 1.0 and plain
    y = _step(node, last, "product", MatMul, *made, right_transpose=transposed)
    if alpha != 1.0:
        y = _step(node, bias is none, "scaled", Mul, y, node.weight(np.array(alpha, np.float32), "alpha"))
    return y if last or bias is none else _step(node, True, "sum", Add, y, bias)


def _step(node: Node, last: bool, label: str, op: type[TopOp], *operands: SSAValue, **attributes: object) -> SSAValue:
    if last and not node.has(7):
        return node.emit(op, *operands, **attributes)
    return node.part("real" if last else label, op, *operands, **attributes)


def _one_to_one(node: Node, real: SSAValue) -> SSAValue:
    """Quantise the result of an operator whose operands are X and both sides' scales and zero points."""
    return quantized(node, real, node.given(3), node.value(4), node.storage(0))


def _pool(node: Node, own: dict[str, object]) -> SSAValue:
    if node.attribute("channels_last", 0):
        raise node.refuse("channels_last is not supported")
    size = node.shape(0)[2:]
    whole = "kernel_shape" in own
    kernel = list(size) if whole else list(node.attribute("kernel_shape"))
    window = {**own, "kernel_shape": kernel, "strides": spatial(node, "strides", len(kernel))}
    window |= {"pads": window_pads(node, kernel, size), "dilations": spatial(node, "dilations", len(kernel))}
    return _one_to_one(node, node.part("real", AveragePool, real_operand(node, 0, "x"), **window))


def _window(node: Node, kernel: list[int], size: tuple[int, ...]) -> dict[str, object]:
    """Return the attributes of a convolution."""
    stated = node.attribute("kernel_shape")
    if stated is not None and list(stated) != kernel:
        raise node.refuse(f"kernel_shape {stated} does not fit the filter {kernel}")
    steps = {name: spatial(node, name, len(kernel)) for name in ("strides", "dilations")}
    return {**steps, "pads": window_pads(node, kernel, size), "group": node.attribute("group", 1)}


def _exact(terms: int) -> str:
    """Return the float type whose sums of `terms` products of 8-bit integers are exact."""
    return "f32" if terms * _LARGEST_PRODUCT < F32_EXACT else "f64"


def _centred(node: Node, index: int, zero: int, kind: str, along: tuple[int, ...] = ()) -> SSAValue:
    """Return operand `index` less its zero point, as exact floats; a zero point by channel lies `along` it."""
    label = "xw"[index]
    x = node.part(label, Cast, node.given(index), to=kind)
    if not node.has(zero):
        return x
    z = node.part(f"{label}_zero", Cast, node.given(zero), to=kind)
    if len(shape_of(z)) == 1 and shape_of(z) != (1,) and along:
        z = node.part(f"{label}_zeros", Reshape, z, shape=_resolved(along, shape_of(z)[0]))
    elif shape_of(z) == (1,):
        z = node.part(f"{label}_zero_point", Reshape, z, shape=())
    return node.part(f"{label}_centred", Sub, x, z)


def _resolved(along: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(size if n < 0 else n for n in along)
