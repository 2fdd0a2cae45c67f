"""Reductions, determinants, places of extreme elements, running sums and products."""

from xdsl.ir import SSAValue

from stepdown.dialects.top import reduce as top
from stepdown.dialects.top.arithmetic import Mul
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.elementary import Abs, Log
from stepdown.dialects.top.matrix import Det
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

# ONNX operator → TOP op, and what is left of it where no dimension is reduced (None: nothing).
REDUCTIONS: dict[str, tuple[type[TopOp], type[TopOp] | None]] = {
    "ReduceL1": (top.ReduceL1, Abs),
    "ReduceL2": (top.ReduceL2, Abs),
    "ReduceLogSum": (top.ReduceLogSum, Log),
    "ReduceLogSumExp": (top.ReduceLogSumExp, None),
    "ReduceMax": (top.ReduceMax, None),
    "ReduceMean": (top.ReduceMean, None),
    "ReduceMin": (top.ReduceMin, None),
    "ReduceProd": (top.ReduceProd, None),
    "ReduceSum": (top.ReduceSum, None),
    "ReduceSumSquare": (top.ReduceSumSquare, Mul),
}
CUMULATIVE: dict[str, type[TopOp]] = {"CumSum": top.CumSum, "CumProd": top.CumProd}
PLACES: dict[str, type[TopOp]] = {"ArgMax": top.ArgMax, "ArgMin": top.ArgMin}


@rule(*REDUCTIONS)
def reduction(node: Node) -> SSAValue:
    """Reduce…; the axes are an attribute before opset 13 (ReduceSum) or 18, then a constant operand."""
    op, elementwise = REDUCTIONS[node.op_type]
    axes = node.ints(1, "axes") or []
    if axes or not node.attribute("noop_with_empty_axes", 0):
        return node.emit(op, node.value(0), axes=axes, keepdims=node.attribute("keepdims", 1))
    if elementwise is None:
        return node.alias(node.value(0))
    return node.emit(elementwise, *[node.value(0)] * len(elementwise.inputs))


@rule("Det")
def det(node: Node) -> SSAValue:
    """Det. Source: ONNX Det-22."""
    return node.emit(Det, node.value(0))


@rule(*PLACES)
def place(node: Node) -> SSAValue:
    """ArgMax, ArgMin."""
    return node.emit(
        PLACES[node.op_type], node.value(0), axis=node.attribute("axis", 0), keepdims=node.attribute("keepdims", 1),
        select_last_index=node.attribute("select_last_index", 0),
    )  # fmt: skip


@rule(*CUMULATIVE)
def cumulative(node: Node) -> SSAValue:
    """CumSum, CumProd along a constant axis."""
    return node.emit(
        CUMULATIVE[node.op_type], node.value(0), axis=node.constant(1).item(),
        exclusive=node.attribute("exclusive", 0), reverse=node.attribute("reverse", 0),
    )  # fmt: skip
