"""Distributions, normalisations, and what inference does not see: Dropout, Identity."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import normalization as top
from stepdown.dialects.top import softmax
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.types import DTYPES
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

DISTRIBUTIONS: dict[str, type[TopOp]] = {
    "Softmax": softmax.Softmax,
    "LogSoftmax": softmax.LogSoftmax,
    "Hardmax": softmax.Hardmax,
}


@rule(*DISTRIBUTIONS)
def distribution(node: Node) -> SSAValue:
    """Softmax, …; before opset 13 over `axis` and all later dimensions together."""
    axis = node.attribute("axis", -1 if node.opset >= 13 else 1)
    later = node.shape(0)[axis % max(1, len(node.shape(0))) + 1 :]
    flat = node.opset < 13 and any(n != 1 for n in later)
    return node.emit(DISTRIBUTIONS[node.op_type], node.value(0), axis=axis, flat=flat)


@rule("BatchNormalization")
def batch_norm(node: Node) -> SSAValue:
    """BatchNormalization with given statistics; opsets before 7 train unless is_test, before 9 may be per element."""
    trains = node.attribute("training_mode", 0) or (node.opset < 7 and not node.attribute("is_test", 0))
    if trains or any(node.outputs[1:]):
        raise node.refuse("training is not supported")
    if not node.attribute("spatial", 1):
        raise node.refuse("spatial=0 (statistics of each element) is not supported")
    return node.emit(top.BatchNorm, *node.values(), epsilon=node.attribute("epsilon", 1e-5))


@rule("InstanceNormalization")
def instance_norm(node: Node) -> SSAValue:
    """InstanceNormalization: every channel is a group."""
    groups = node.shape(0)[1]
    return node.emit(top.GroupNorm, *node.values(), num_groups=groups, epsilon=node.attribute("epsilon", 1e-5))


@rule("GroupNormalization")
def group_norm(node: Node) -> SSAValue:
    """GroupNormalization; scale and bias have one value a group in opset 18, one a channel from 21."""
    groups = node.attribute("num_groups")
    return node.emit(top.GroupNorm, *node.values(), num_groups=groups, epsilon=node.attribute("epsilon", 1e-5))


@rule("LayerNormalization")
def layer_norm(node: Node) -> list[SSAValue]:
    """LayerNormalization with as many statistics as the node has outputs for."""
    given = {"axis": node.attribute("axis", -1), "epsilon": node.attribute("epsilon", 1e-5)}
    return node.emit_all(top.LayerNorm, *(node.value(i) for i in range(3)), statistics=len(node.outputs) - 1, **given)


@rule("RMSNormalization")
def rms_norm(node: Node) -> SSAValue:
    """RMSNormalization."""
    given = {"axis": node.attribute("axis", -1), "epsilon": node.attribute("epsilon", 1e-5)}
    return node.emit(top.RMSNorm, *node.values(), **given)


@rule("LRN")
def lrn(node: Node) -> SSAValue:
    """LRN."""
    given = {n: node.attribute(n, d) for n, d in {"size": None, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}.items()}
    return node.emit(top.LRN, node.value(0), **given)


@rule("LpNormalization")
def lp_norm(node: Node) -> SSAValue:
    """LpNormalization."""
    return node.emit(top.LpNorm, node.value(0), axis=node.attribute("axis", -1), p=node.attribute("p", 2))


@rule("MeanVarianceNormalization")
def mean_variance_norm(node: Node) -> SSAValue:
    """MeanVarianceNormalization."""
    return node.emit(top.MeanVarianceNorm, node.value(0), axes=node.attribute("axes", [0, 2, 3]))


@rule("Dropout")
def dropout(node: Node) -> list[SSAValue]:
    """Dropout does nothing in inference; its mask is all ones: truth values from opset 10, else of the input's type."""
    if _drops(node):
        raise node.refuse("training is not supported")
    values = [node.alias(node.value(0))]
    if any(node.outputs[1:]):
        kind = np.dtype(np.bool_) if node.opset >= 10 else DTYPES[node.storage(0)]
        values.append(node.graph.weight(np.ones(node.room_for(node.shape(0)), kind), node.names[1]))
    return values


def _drops(node: Node) -> bool:
    """Tell whether the node may drop elements: it trains, and its ratio is not 0."""
    if node.opset < 12:
        return node.opset < 7 and not node.attribute("is_test", 0)
    mode, ratio = node.constant_or_none(2), node.constant_or_none(1)
    trains = node.has(2) and (mode is None or bool(mode.item()))
    return trains and (ratio is None or float(ratio.item()) != 0)


@rule("Identity")
def identity(node: Node) -> SSAValue:
    """Identity is its operand."""
    return node.alias(node.value(0))
