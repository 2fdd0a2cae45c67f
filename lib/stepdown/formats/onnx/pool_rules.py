"""Pooling over windows and over whole planes."""

from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.top import pool as top
from stepdown.dialects.top.pool_indices import MaxPoolIndices
from stepdown.formats.onnx.mac_rules import spatial, window_pads
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

POOLS: dict[str, type[top.Pool]] = {"MaxPool": top.MaxPool, "AveragePool": top.AveragePool, "LpPool": top.LpPool}


def _norm(node: Node) -> dict[str, Any]:
    """Return the attribute `p` of the Lp pools: a float in opset 1, then an integer."""
    p = node.attribute("p", 2)
    if p != int(p):
        raise node.refuse(f"p is {p}, not an integer")
    return {"p": int(p)}


@rule(*POOLS)
def pool(node: Node) -> Sequence[SSAValue]:
    """MaxPool, AveragePool, LpPool; `auto_pad` becomes pads. The places that MaxPool finds are an op of their own."""
    op, size = POOLS[node.op_type], node.shape(0)[2:]
    kernel = list(node.attribute("kernel_shape") or size)
    own = _norm(node) if op is top.LpPool else {}
    if op is top.AveragePool:
        own = {"count_include_pad": node.attribute("count_include_pad", 0)}
    window = {
        "kernel_shape": kernel, "strides": spatial(node, "strides", len(kernel)),
        "pads": window_pads(node, kernel, size), "dilations": spatial(node, "dilations", len(kernel)),
        "ceil_mode": node.attribute("ceil_mode", 0),
    }  # fmt: skip
    values = [node.output(0, op, node.value(0), **window, **own) if node.outputs[0] else node.graph.none]
    if any(node.outputs[1:]):
        order = node.attribute("storage_order", 0)
        values.append(node.output(1, MaxPoolIndices, node.value(0), **window, column_major=order))
    return values


@rule(*(f"Global{name}" for name in POOLS))
def global_pool(node: Node) -> SSAValue:
    """GlobalMaxPool, GlobalAveragePool, GlobalLpPool: the window is the whole plane."""
    op, size = POOLS[node.op_type.removeprefix("Global")], node.shape(0)[2:]
    ones, own = [1] * len(size), _norm(node) if op is top.LpPool else {}
    return node.emit(
        op, node.value(0), kernel_shape=size, strides=ones, pads=[0] * 2 * len(size), dilations=ones, **own
    )
