"""Pooling, reductions and resampling. Source: tensorflow/lite/kernels/{pooling,reduce,resize_*}.cc."""

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top import reduce as red
from stepdown.dialects.top.arithmetic import Mul
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.pool import AveragePool, LpPool, MaxPool
from stepdown.dialects.top.resize import Resize, ResizeNearest
from stepdown.dialects.types import shape_of
from stepdown.formats.tflite.loader import TYPES
from stepdown.formats.tflite.mac_rules import window_of
from stepdown.formats.tflite.move_rules import axis_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import RULES, rule

POOLS: dict[str, type[TensorOp]] = {"AVERAGE_POOL_2D": AveragePool, "MAX_POOL_2D": MaxPool}
REDUCTIONS: dict[str, type[TensorOp]] = {
    "MEAN": red.ReduceMean,
    "SUM": red.ReduceSum,
    "REDUCE_MAX": red.ReduceMax,
    "REDUCE_MIN": red.ReduceMin,
    "REDUCE_PROD": red.ReduceProd,
}


def _window(node: Node) -> dict[str, Any]:
    """Return the attributes of a pool's window."""
    kernel = [int(node.attribute("FilterHeight", 1)), int(node.attribute("FilterWidth", 1))]
    return {"kernel_shape": kernel, **window_of(node, node.shape(0)[1:-1], kernel)}


def _reduced(node: Node) -> dict[str, Any]:
    """Return the axes that a reduction is over, and whether they stay."""
    axes = sorted({axis_of(node, a, len(node.shape(0))) for a in node.ints(1) or []})
    return {"axes": axes, "keepdims": bool(node.attribute("KeepDims", False))}


def _pool(op: type[TensorOp]) -> Any:
    def pool(node: Node) -> SSAValue:
        """The window is in the options; averages do not count the padding."""
        return node.channels_last(op, node.channels_first(node.given(0)), **_window(node))

    return pool


def _reduction(op: type[TensorOp]) -> Any:
    def reduction(node: Node) -> SSAValue:
        """Operands: input, axes (none means nothing is reduced)."""
        reduced = _reduced(node)
        if not reduced["axes"]:
            return node.graph.copy(node.given(0), node.name)
        return node.emit(op, node.given(0), **reduced)

    return reduction


RULES.update({op_type: _pool(op) for op_type, op in POOLS.items()})
RULES.update({op_type: _reduction(op) for op_type, op in REDUCTIONS.items()})


@rule("L2_POOL_2D")
def l2_pool(node: Node) -> SSAValue:
    """√ of the mean square of each window; padding is not counted."""
    window = _window(node)
    if any(window["pads"]):
        raise node.refuse("pads the input")
    first = node.part("norm", LpPool, node.channels_first(node.given(0)), **window, p=2)
    root = np.array([np.prod(window["kernel_shape"]) ** -0.5], np.float32)
    return node.channels_last(Mul, first, node.weight(root, "root"))


@rule("REDUCE_ANY", "REDUCE_ALL")
def reduce_truth(node: Node) -> SSAValue:
    """Whether any, or all, of the truth values are true: their maximum or minimum as bytes."""
    op = red.ReduceMax if node.op_type == "REDUCE_ANY" else red.ReduceMin
    small = node.part("bytes", Cast, node.given(0), to="u8")
    reduced = node.part("reduced", op, small, **_reduced(node))
    return node.emit(Cast, reduced, to="i1")


@rule("ARG_MAX", "ARG_MIN")
def arg_extreme(node: Node) -> SSAValue:
    """Operands: input, axis. The first of equals."""
    axis = axis_of(node, (node.ints(1) or [-1])[0], len(node.shape(0)))
    op = red.ArgMax if node.op_type == "ARG_MAX" else red.ArgMin
    kind = TYPES.get(int(node.attribute("OutputType", 4)), ("i64", None))[0]
    if kind == "i64":
        return node.emit(op, node.given(0), axis=axis, keepdims=False)
    return node.emit(Cast, node.part("place", op, node.given(0), axis=axis, keepdims=False), to=kind)


@rule("CUMSUM")
def cumsum(node: Node) -> SSAValue:
    """Operands: input, axis."""
    axis = axis_of(node, (node.ints(1) or [0])[0], len(node.shape(0)))
    exclusive, reverse = (bool(node.attribute(k, False)) for k in ("Exclusive", "Reverse"))
    return node.emit(red.CumSum, node.given(0), axis=axis, exclusive=exclusive, reverse=reverse)


def _resized(node: Node) -> tuple[SSAValue, dict[str, Any]]:
    """Return the operand with channels first, and the shape and scales of the result."""
    first, size = node.channels_first(node.given(0)), node.ints(1) or []
    old = shape_of(first)
    if len(size) != 2 or len(old) != 4 or min(size) < 1:
        raise node.refuse(f"resizes {list(node.shape(0))} to {size}")
    scales = [1.0, 1.0, *(n / o for n, o in zip(size, old[2:], strict=True))]
    return first, {"shape": [*old[:2], *size], "scales": scales}


@rule("RESIZE_BILINEAR")
def resize_bilinear(node: Node) -> SSAValue:
    """Operands: input, [height, width]."""
    first, sizes = _resized(node)
    return node.channels_last(Resize, first, mode="linear", coordinate_transformation_mode=_coordinates(node), **sizes)


@rule("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest(node: Node) -> SSAValue:
    """Operands: input, [height, width]. The element before a position; the nearest one with aligned corners."""
    first, sizes = _resized(node)
    aligned, half = (bool(node.attribute(k, False)) for k in ("AlignCorners", "HalfPixelCenters"))
    coordinates = "align_corners" if aligned else "tf_half_pixel_for_nn" if half else "asymmetric"
    nearest = "round_prefer_ceil" if aligned else "floor"
    return node.channels_last(
        ResizeNearest, first, nearest_mode=nearest, coordinate_transformation_mode=coordinates, **sizes
    )


def _coordinates(node: Node) -> str:
    if node.attribute("AlignCorners", False):
        return "align_corners"
    return "half_pixel" if node.attribute("HalfPixelCenters", False) else "asymmetric"
