"""Convolutions, matrix products and tables of vectors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.arithmetic import Add
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.index import Gather
from stepdown.dialects.top.mac import Conv, ConvTranspose, MatMul
from stepdown.formats.caffe.node import Node
from stepdown.formats.caffe.rules import rule
from stepdown.formats.caffe.window import sizes, spatial_rank

DEPTHWISE = ("ConvolutionDepthwise", "DepthwiseConvolution")


@rule("Convolution", *DEPTHWISE)
def convolution(node: Node) -> SSAValue:
    """Convolution; the depthwise ones have a group for each channel. Source: Caffe ConvolutionLayer."""
    param = node.message.convolution_param
    channels, group = node.shape(0)[1], param.group
    if node.op_type in DEPTHWISE:
        group = channels
    _check_groups(node, group)
    kernel, window = _window(node)
    weights = _weights(node, (param.num_output, channels // group, *kernel))
    return node.emit(Conv, node.value(0), *weights, group=group, **window)


@rule("Deconvolution")
def deconvolution(node: Node) -> SSAValue:
    """Deconvolution: the transposed convolution, filter[C, O / group, *K]. Source: Caffe DeconvolutionLayer."""
    param = node.message.convolution_param
    _check_groups(node, param.group)
    kernel, window = _window(node)
    weights = _weights(node, (node.shape(0)[1], param.num_output // param.group, *kernel))
    extra = [0] * len(kernel)
    return node.emit(ConvTranspose, node.value(0), *weights, group=param.group, output_padding=extra, **window)


@rule("InnerProduct")
def inner_product(node: Node) -> SSAValue:
    """All dimensions from `axis` on, as one, times a matrix. Source: Caffe InnerProductLayer."""
    param, shape = node.message.inner_product_param, node.shape(0)
    axis = node.axis(param.axis)
    rows, columns = math.prod(shape[axis:]), param.num_output
    node.expect_blobs(1 + param.bias_term)
    matrix = node.array(0, (rows, columns)) if param.transpose else node.array(0, (columns, rows)).T
    bias = node.stored(node.array(1, (columns,)), "bias") if param.bias_term else node.graph.none
    flat = node.reshaped(node.value(0), (*shape[:axis], rows), "flat")
    return node.emit(MatMul, flat, node.stored(matrix, "weight"), bias)


@rule("Embed")
def embed(node: Node) -> SSAValue:
    """The row of a matrix that each element names. Source: Caffe EmbedLayer."""
    param = node.message.embed_param
    node.expect_blobs(1 + param.bias_term)
    table = node.stored(node.array(0, (param.input_dim, param.num_output)), "weight")
    places = node.part("places", Cast, node.value(0), to="i64")
    if not param.bias_term:
        return node.emit(Gather, table, places)
    bias = node.stored(node.array(1, (param.num_output,)), "bias")
    return node.emit(Add, node.part("rows", Gather, table, places), bias)


def _check_groups(node: Node, group: int) -> None:
    param, channels = node.message.convolution_param, node.shape(0)[1]
    if param.num_output < 1 or group < 1 or channels % group or param.num_output % group:
        raise node.refuse(f"{channels} channels to num_output {param.num_output} in {group} groups")


def _window(node: Node) -> tuple[list[int], dict[str, Any]]:
    """Return the kernel, and the window's other attributes."""
    rank, param = spatial_rank(node), node.message.convolution_param
    if node.axis(param.axis) != 1:
        raise node.refuse(f"axis {param.axis}, only 1 is supported")
    pads = sizes(node, param, "pad", "pad", rank, 0)
    strides = sizes(node, param, "stride", "stride", rank, 1)
    dilations = list(param.dilation) or [1]
    if len(dilations) not in (1, rank):
        raise node.refuse(f"{len(dilations)} values of dilation for {rank} spatial dimensions")
    dilations = dilations * rank if len(dilations) == 1 else dilations
    kernel = sizes(node, param, "kernel_size", "kernel", rank, None)
    return kernel, {"strides": strides, "pads": [*pads, *pads], "dilations": dilations}


def _weights(node: Node, shape: Sequence[int]) -> tuple[SSAValue, SSAValue]:
    """Return filter and bias."""
    param = node.message.convolution_param
    node.expect_blobs(1 + param.bias_term)
    filter: np.ndarray = node.array(0, shape)
    bias = node.stored(node.array(1, (param.num_output,)), "bias") if param.bias_term else node.graph.none
    return node.stored(filter, "weight"), bias
