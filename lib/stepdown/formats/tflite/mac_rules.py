"""Convolutions and matrix products. Source: tensorflow/lite/kernels/{conv,depthwise_conv,fully_connected,…}.cc."""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.mac import Conv, ConvTranspose, MatMul
from stepdown.dialects.top.move import Reshape, Transpose
from stepdown.dialects.types import shape_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import rule


def padding_of(
    node: Node, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Return all begins, then all ends of the zeros around a window: none for VALID; SAME puts the odd one behind.

    Source: tensorflow/lite/kernels/padding.h, ComputePaddingWithOffset.
    """
    if node.attribute("Padding", "SAME") == "VALID":
        return [0] * (2 * len(size))
    needed = [
        max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    return [*(n // 2 for n in needed), *(n - n // 2 for n in needed)]


def window_of(node: Node, size: Sequence[int], kernel: Sequence[int]) -> dict[str, list[int]]:
    """Return strides, dilations and pads of a window over `size`.

    Raises:
        UnsupportedModel: a stride or dilation below 1.
    """
    axes = "DHW"[3 - len(size) :]
    strides = [int(node.attribute(f"Stride{a}", 1)) for a in axes]
    dilations = [int(node.attribute(f"Dilation{a}Factor", 1)) for a in axes]
    if min(*strides, *dilations) < 1:
        raise node.refuse(f"has strides {strides} and dilations {dilations}")
    return {"strides": strides, "dilations": dilations, "pads": padding_of(node, size, kernel, strides, dilations)}


def bias_of(node: Node, index: int) -> SSAValue:
    """Return the bias; integers without a scale of their own in a float network get input scale × weight scale.

    So have the biases of 16-bit networks, which are int64. Source: LiteRT, kernel_util.cc,
    PopulateConvolutionQuantizationParams.
    """
    if not node.has(index):
        return node.graph.none
    array, stated = node.constant_or_none(index), node.graph.stated
    scales = [np.asarray(stated[name].scale) for name in node.inputs[index - 2 : index] if name in stated]
    if node.params or array is None or array.dtype.kind != "i" or len(scales) != 2:
        return node.value(index)
    return node.weight((array * (scales[0] * scales[1])).astype(np.float32), "bias")


@rule("CONV_2D", "CONV_3D")
def convolution(node: Node) -> SSAValue:
    """CONV_2D: filter[O, H, W, I / group]; CONV_3D: filter[D, H, W, I, O]."""
    x, filter = node.shape(0), node.shape(1)
    spatial = len(x) - 2
    last = node.op_type == "CONV_3D"
    order = [4, 3, 0, 1, 2] if last else [0, spatial + 1, *range(1, spatial + 1)]
    kernel = filter[:3] if last else filter[1:-1]
    inputs = filter[3] if last else filter[-1]
    if inputs == 0 or x[-1] % inputs:
        raise node.refuse(f"{x[-1]} channels do not fit a filter of {list(filter)}")
    window = window_of(node, x[1:-1], kernel)
    operands = [node.channels_first(node.given(0)), node.moved(1, order), bias_of(node, 2)]
    return node.channels_last(Conv, *operands, can_fuse=True, group=x[-1] // inputs, **window)


@rule("DEPTHWISE_CONV_2D")
def depthwise_convolution(node: Node) -> SSAValue:
    """filter[1, H, W, C·M]: every input channel makes M output channels."""
    x, filter = node.shape(0), node.shape(1)
    channels, outputs = x[-1], filter[-1]
    if channels == 0 or outputs % channels or filter[0] != 1:
        raise node.refuse(f"{channels} channels do not fit a filter of {list(filter)}")
    window = window_of(node, x[1:-1], filter[1:-1])
    weight = node.moved(1, [3, 0, 1, 2])
    operands = [node.channels_first(node.given(0)), weight, bias_of(node, 2)]
    return node.channels_last(Conv, *operands, can_fuse=True, group=channels, **window)


@rule("TRANSPOSE_CONV")
def transposed_convolution(node: Node) -> SSAValue:
    """Operands: output shape, filter[O, H, W, I], input, bias. What SAME pads of the forward convolution is cut off."""
    wanted, filter, x = node.ints(0) or [], node.shape(1), node.shape(2)
    if len(wanted) != 4 or len(x) != 4 or wanted[0] != x[0] or wanted[3] != filter[0]:
        raise node.refuse(f"makes {wanted} from {list(x)} by a filter of {list(filter)}")
    strides = [int(node.attribute("StrideH", 1)), int(node.attribute("StrideW", 1))]
    if min(strides) < 1:
        raise node.refuse(f"has strides {strides}")
    pads = padding_of(node, wanted[1:3], filter[1:3], strides, [1, 1])
    full = [s * (n - 1) + k for s, n, k in zip(strides, x[1:3], filter[1:3], strict=True)]
    begins = pads[:2]
    ends = [f - b - w for f, b, w in zip(full, begins, wanted[1:3], strict=True)]
    window = {"strides": strides, "dilations": [1, 1], "pads": [*begins, *(max(0, e) for e in ends)]}
    window["output_padding"] = [max(0, -e) for e in ends]
    operands = [node.channels_first(node.given(2)), node.moved(1, [3, 0, 1, 2]), bias_of(node, 3)]
    return node.channels_last(ConvTranspose, *operands, can_fuse=True, **window)


@rule("FULLY_CONNECTED")
def fully_connected(node: Node) -> SSAValue:
    """input[..., I] × weights[O, I], the input taken as rows of I."""
    if node.attribute("WeightsFormat", "DEFAULT") != "DEFAULT":
        raise node.refuse("has shuffled weights")
    x, weights = node.shape(0), node.shape(1)
    if len(weights) != 2 or not weights[1] or math.prod(x) % weights[1]:
        raise node.refuse(f"multiplies {list(x)} by {list(weights)}")
    rows = list(x[:-1]) if node.attribute("KeepNumDims", False) else [math.prod(x) // weights[1]]
    value = node.given(0)
    if list(x) != [*rows, weights[1]]:
        value = node.part("rows", Reshape, value, shape=[*rows, weights[1]])
    return node.fusing(MatMul, value, node.value(1), bias_of(node, 2), right_transpose=True)


@rule("BATCH_MATMUL")
def batch_matmul(node: Node) -> SSAValue:
    """x[..., M, K] × y[..., K, N], each side transposed first where AdjX, AdjY say so."""
    left, right = node.given(0), node.given(1)
    if node.attribute("AdjX", False):
        rank = len(shape_of(left))
        left = node.part("left", Transpose, left, order=[*range(rank - 2), rank - 1, rank - 2])
    return node.emit(MatMul, left, right, node.graph.none, right_transpose=bool(node.attribute("AdjY", False)))
