"""Operators that read or write at places another tensor names, and those whose result's size its values decide."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import index as top
from stepdown.dialects.top.arithmetic import Add, Mod
from stepdown.dialects.top.einsum import Einsum
from stepdown.dialects.top.move import Expand, Reshape
from stepdown.formats.onnx.move_rules import axis_of
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("Gather")
def gather(node: Node) -> SSAValue:
    """Gather. Source: ONNX Gather-13."""
    return node.emit(top.Gather, node.value(0), node.value(1), axis=axis_of(node, len(node.shape(0))))


@rule("GatherElements")
def gather_elements(node: Node) -> SSAValue:
    """GatherElements. Source: ONNX GatherElements-13."""
    return node.emit(top.GatherElements, node.value(0), node.value(1), axis=axis_of(node, len(node.shape(0))))


@rule("GatherND")
def gather_nd(node: Node) -> SSAValue:
    """GatherND. Source: ONNX GatherND-13."""
    return node.emit(top.GatherND, node.value(0), node.value(1), batch_dims=node.attribute("batch_dims", 0))


@rule("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> SSAValue:
    """ScatterElements, and Scatter as it was called before. Source: ONNX ScatterElements-18, Scatter-9."""
    axis = axis_of(node, len(node.shape(0)))
    return node.emit(top.ScatterElements, *node.values(), axis=axis, reduction=node.attribute("reduction", "none"))


@rule("ScatterND")
def scatter_nd(node: Node) -> SSAValue:
    """ScatterND. Source: ONNX ScatterND-18."""
    return node.emit(top.ScatterND, *node.values(), reduction=node.attribute("reduction", "none"))


@rule("TensorScatter")
def tensor_scatter(node: Node) -> SSAValue:
    """A cache with the update written from write_indices[B] on, in a ring where it is circular.

    Source: ONNX TensorScatter-24.
    """
    shape, update = node.shape(0), node.shape(1)
    axis = axis_of(node, len(shape), -2)
    along = [1] * len(shape)
    along[axis] = update[axis]
    places: SSAValue = node.weight(np.arange(update[axis]).reshape(along), "steps")
    if node.has(2):
        first = node.part("first", Reshape, node.value(2), shape=[shape[0], *[1] * (len(shape) - 1)])
        places = node.part("moved", Add, first, places)
    if node.attribute("mode", "linear") == "circular":
        places = node.part("around", Mod, places, node.weight(np.array(shape[axis]), "length"))
    places = node.part("places", Expand, places, shape=update)
    return node.emit(top.ScatterElements, node.value(0), places, node.value(1), axis=axis)


@rule("TopK")
def top_k(node: Node) -> list[SSAValue]:
    """TopK with constant k; `sorted` 0 leaves the order open, and ours is sorted. Source: ONNX TopK-24."""
    k, axis = (node.ints(1, "k") or [0])[0], axis_of(node, len(node.shape(0)), -1)
    return node.emit_all(top.TopK, node.value(0), k=k, axis=axis, largest=bool(node.attribute("largest", 1)))


@rule("OneHot")
def one_hot(node: Node) -> SSAValue:
    """OneHot with constant depth. Source: ONNX OneHot-11."""
    depth, axis = (node.ints(1) or [0])[0], axis_of(node, len(node.shape(0)) + 1, -1)
    return node.emit(top.OneHot, node.value(0), node.value(2), depth=depth, axis=axis)


@rule("Compress")
def compress(node: Node) -> SSAValue:
    """The slices, or without `axis` the elements, where a constant condition holds. Source: ONNX Compress-11."""
    shape, value = node.shape(0), node.value(0)
    chosen = node.weight(np.flatnonzero(node.constant(1)), "indices")
    if node.attribute("axis") is None:
        value = node.part("flat", Reshape, value, shape=[int(np.prod(shape, dtype=np.int64))])
        return node.emit(top.Gather, value, chosen, axis=0)
    return node.emit(top.Gather, value, chosen, axis=axis_of(node, len(shape)))


@rule("NonZero")
def non_zero(node: Node) -> SSAValue:
    """The places of what is not 0 in a constant: [rank, count]. Source: ONNX NonZero-13."""
    return node.graph.weight(np.array(np.nonzero(node.constant(0)), np.int64), node.name)


@rule("Unique")
def unique(node: Node) -> Sequence[SSAValue]:
    """The different elements, or slices along `axis`, of a constant. Source: ONNX Unique-11."""
    axis = None if node.attribute("axis") is None else axis_of(node, len(node.shape(0)))
    values, first, inverse, counts = np.unique(
        node.constant(0), return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    if not node.attribute("sorted", 1):  # in the order of their first occurrence
        order = np.argsort(first)
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    arrays = (values, first, inverse.reshape(-1), counts)
    names = [f"{name}_{node.op_type}" for name in node.outputs]
    return [node.graph.weight(array, name) for array, name in zip(arrays, names, strict=False)]


@rule("Einsum")
def einsum(node: Node) -> SSAValue:
    """Einsum. Source: ONNX Einsum-12."""
    return node.emit(Einsum, *node.values(), equation=node.attribute("equation").replace(" ", ""))
