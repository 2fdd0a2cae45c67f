"""Operators that put images together from parts of others, or move where they are sampled."""

import math

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.deform import DeformConv
from stepdown.dialects.top.index import ScatterElements
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.top.move import Pad, Reshape
from stepdown.dialects.top.unfolded import Col2Im
from stepdown.formats.onnx.cast_rules import stored_dtype
from stepdown.formats.onnx.constant_rules import checked_sizes
from stepdown.formats.onnx.mac_rules import filter_weight, spatial
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("AffineGrid")
def affine_grid(node: Node) -> SSAValue:
    """theta[N, D, D + 1] times the homogeneous coordinates of every element, x first. Source: ONNX AffineGrid-20."""
    size, dtype = node.ints(1) or [], stored_dtype(node.storage(0))
    aligned = bool(node.attribute("align_corners", 0))
    axes = [_coordinates(n, aligned) for n in checked_sizes(node, size[2:], 8 * len(size))]
    mesh = np.meshgrid(*axes, indexing="ij")
    homogeneous = np.stack([*(part.reshape(-1) for part in mesh[::-1]), np.ones(mesh[0].size)], 1)
    coordinates = node.weight(homogeneous[None].astype(dtype), "coordinates")
    flat = node.part("flat", MatMul, coordinates, node.value(0), node.graph.none, right_transpose=True)
    return node.emit(Reshape, flat, shape=(size[0], *size[2:], len(axes)))


def _coordinates(count: int, align_corners: bool) -> np.ndarray:
    """Return the middles of `count` elements, whose corners or whose outermost middles are at −1 and 1."""
    return np.linspace(-1, 1, count) if align_corners else (2 * np.arange(count) + 1) / count - 1


@rule("Col2Im")
def col2im(node: Node) -> SSAValue:
    """Col2Im with constant shapes. Source: ONNX Col2Im-18."""
    image, block = node.ints(1) or [], node.ints(2) or []
    strides, dilations = (spatial(node, name, len(image)) for name in ("strides", "dilations"))
    pads = list(node.attribute("pads") or [0] * 2 * len(image))
    shapes = {"image_shape": image, "block_shape": block}
    return node.emit(Col2Im, node.value(0), **shapes, strides=strides, dilations=dilations, pads=pads)


@rule("MaxUnpool")
def max_unpool(node: Node) -> SSAValue:
    """Zeros with the values at the places of the maxima; a larger shape adds zeros. Source: ONNX MaxUnpool-22."""
    shape, kernel = node.shape(0), node.attribute("kernel_shape")
    pads, strides = node.attribute("pads") or [0] * 2 * len(kernel), spatial(node, "strides", len(kernel))
    ends = pads[len(kernel) :]
    each = zip(shape[2:], strides, kernel, pads, ends, strict=False)
    full = (*shape[:2], *((n - 1) * s + k - begin - end for n, s, k, begin, end in each))
    checked_sizes(node, full, 8)
    wanted = tuple(node.ints(2) or full)
    zeros = node.weight(np.zeros(math.prod(full), stored_dtype(node.storage(0))), "zeros")
    values, places = (
        node.part(label, Reshape, node.value(i), shape=(math.prod(shape),))
        for i, label in enumerate(("values", "places"))
    )
    flat = node.part("flat", ScatterElements, zeros, places, values)
    if wanted == full:
        return node.emit(Reshape, flat, shape=full)
    inner = node.part("unpooled", Reshape, flat, shape=full)
    return node.emit(Pad, inner, pads=[0] * len(full) + [w - n for w, n in zip(wanted, full, strict=True)])


@rule("DeformConv")
def deform_conv(node: Node) -> SSAValue:
    """DeformConv over two dimensions. Source: ONNX DeformConv-22."""
    kernel = list(node.attribute("kernel_shape") or node.shape(1)[2:])
    if tuple(kernel) != node.shape(1)[2:]:
        raise node.refuse(f"kernel_shape {kernel} does not fit the filter {node.shape(1)}")
    rank = len(kernel)
    strides, dilations = (spatial(node, name, rank) for name in ("strides", "dilations"))
    groups = {name: node.attribute(name, 1) for name in ("group", "offset_group")}
    operands = (node.value(0), filter_weight(node, 1), *(node.value(i) for i in (2, 3, 4)))
    pads = list(node.attribute("pads") or [0] * 2 * rank)
    return node.emit(DeformConv, *operands, strides=strides, dilations=dilations, pads=pads, **groups)
