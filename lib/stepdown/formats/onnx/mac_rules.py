"""Convolutions and matrix products."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.arithmetic import Add, Mul
from stepdown.dialects.top.mac import Conv, ConvTranspose, MatMul
from stepdown.dialects.top.quantize import Dequantize
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


def window_pads(node: Node, kernel: Sequence[int], size: Sequence[int]) -> list[int]:
    """Return explicit pads (begins, then ends) for `auto_pad` and `pads`. Source: ONNX Conv-22."""
    rank = len(kernel)
    auto = node.attribute("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(node.attribute("pads") or [0] * 2 * rank)
    if auto == "VALID":
        return [0] * 2 * rank
    strides, dilations = spatial(node, "strides", rank), spatial(node, "dilations", rank)
    total = [
        max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]


def spatial(node: Node, name: str, rank: int) -> list[int]:
    """Return `strides` or `dilations`, 1 where absent."""
    return list(node.attribute(name) or [1] * rank)


def filter_weight(node: Node, index: int, transpose: bool = False) -> SSAValue:
    """Return a filter operand; a constant one is stored under `<initializer>_fix`, transposed where asked.

    Raises:
        UnsupportedModel: its elements are of another type than the first operand's.
    """
    if node.storage(index) != node.storage(0):
        raise node.refuse(f"operand {index} is {node.storage(index)}, operand 0 is {node.storage(0)}")
    constant = node.constant_or_none(index)
    if constant is None:
        return node.value(index)
    array = np.ascontiguousarray(constant.swapaxes(-1, -2)) if transpose else constant
    return node.graph.weight(array, f"{node.inputs[index]}_fix")


@rule("Conv")
def conv(node: Node) -> SSAValue:
    """Conv with constant or computed filter."""
    shape = node.shape(1)
    kernel = list(node.attribute("kernel_shape") or shape[2:])
    if tuple(kernel) != shape[2:]:
        raise node.refuse(f"kernel_shape {kernel} does not fit the filter {shape}")
    return node.emit(
        Conv,
        node.value(0),
        filter_weight(node, 1),
        node.value(2),
        strides=spatial(node, "strides", len(kernel)),
        pads=window_pads(node, kernel, node.shape(0)[2:]),
        dilations=spatial(node, "dilations", len(kernel)),
        group=node.attribute("group", 1),
    )


@rule("ConvTranspose")
def conv_transpose(node: Node) -> SSAValue:
    """ConvTranspose; `output_shape` and `auto_pad` become pads. Source: ONNX ConvTranspose-22."""
    rank = len(node.shape(1)) - 2
    strides, dilations = spatial(node, "strides", rank), spatial(node, "dilations", rank)
    extra = list(node.attribute("output_padding") or [0] * rank)
    pads = _transpose_pads(node, strides, dilations, extra)
    return node.emit(
        ConvTranspose, node.value(0), filter_weight(node, 1), node.value(2),
        strides=strides, pads=pads, dilations=dilations, group=node.attribute("group", 1), output_padding=extra,
    )  # fmt: skip


def _transpose_pads(node: Node, strides: list[int], dilations: list[int], extra: list[int]) -> list[int]:
    rank = len(strides)
    size, kernel = node.shape(0)[2:], node.shape(1)[2:]
    auto, wanted = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        return list(node.attribute("pads") or [0] * 2 * rank)
    wanted = list(wanted)[-rank:] if wanted is not None else [n * s for n, s in zip(size, strides, strict=True)]
    total = [
        s * (n - 1) + o + d * (k - 1) + 1 - w
        for s, n, o, d, k, w in zip(strides, size, extra, dilations, kernel, wanted, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]


@rule("MatMul")
def matmul(node: Node) -> SSAValue:
    """MatMul; a constant right side is a weight."""
    return node.emit(MatMul, node.value(0), filter_weight(node, 1), node.graph.none)


@rule("Gemm")
def gemm(node: Node) -> SSAValue:
    """alpha·A'·B' + beta·C; alpha and beta go into constants where B and C are constant."""
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    left = node.value(0)
    if node.attribute("transA", 0):
        from stepdown.dialects.top.move import Transpose

        left = node.part("transposed", Transpose, left, order=[1, 0])
    right, transposed, alpha = _gemm_right(node, alpha)
    bias = node.constant_or_none(2)
    columns = node.shape(1)[0 if node.attribute("transB", 0) else 1]
    if alpha == beta == 1.0 and _keeps_integers(node, columns):
        return node.emit(MatMul, left, right, node.value(2), right_transpose=transposed)
    if alpha == 1.0 and (
        not node.has(2) or (bias is not None and bias.size in (1, columns) and bias.shape[:-1] in ((), (1,)))
    ):
        return node.emit(MatMul, left, right, _gemm_bias(node, bias, beta, columns), right_transpose=transposed)
    product = node.part("product", MatMul, left, right, node.graph.none, right_transpose=transposed)
    return _gemm_sum(node, product, alpha, beta)


def _keeps_integers(node: Node, columns: int) -> bool:
    """Tell whether the bias is a quantised constant, a value a column."""
    return node.has(2) and node.shape(2) == (columns,) and isinstance(node.value(2).owner, Dequantize)


def _gemm_right(node: Node, alpha: float) -> tuple[SSAValue, bool, float]:
    """Return the right operand, whether it is still to be transposed, and the part of alpha not yet applied."""
    transpose = bool(node.attribute("transB", 0))
    constant = node.constant_or_none(1)
    if constant is None:
        return node.value(1), transpose, alpha
    if alpha == 1.0:
        return filter_weight(node, 1, transpose), False, 1.0
    array = np.ascontiguousarray(constant.T if transpose else constant)
    return node.graph.weight(array * array.dtype.type(alpha), f"{node.inputs[1]}_fix"), False, 1.0


def _gemm_bias(node: Node, bias: np.ndarray | None, beta: float, columns: int) -> SSAValue:
    if bias is None:
        return node.graph.none
    if beta == 1.0 and bias.shape == (columns,):
        return node.value(2)
    return node.graph.weight(np.broadcast_to(bias.reshape(-1) * bias.dtype.type(beta), (columns,)), node.inputs[2])


def _gemm_sum(node: Node, product: SSAValue, alpha: float, beta: float) -> SSAValue:
    """Emit alpha·product + beta·C with explicit multiplications."""
    dtype = np.float32
    if alpha != 1.0:
        factor = node.weight(np.array(alpha, dtype), "alpha")
        if not node.has(2):
            return node.emit(Mul, product, factor)
        product = node.part("scaled", Mul, product, factor)
    addend = node.value(2)
    if beta != 1.0:
        addend = node.part("addend", Mul, addend, node.weight(np.array(beta, dtype), "beta"))
    return node.emit(Add, product, addend)
