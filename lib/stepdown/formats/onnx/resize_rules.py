"""Resize of every version and Upsample: scales or sizes are constants, or attributes in old operator sets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.resize import Resize, ResizeNearest
from stepdown.formats.onnx.move_rules import from_front
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

LINEAR = ("linear", "bilinear", "trilinear")


@rule("Upsample")
def upsample(node: Node) -> SSAValue:
    """Upsample: Resize with asymmetric coordinates. Source: ONNX Upsample-9 (operand), 7 (attribute), 1 (2-D)."""
    if node.has(1):
        scales = node.constant(1).astype(np.float32)
    else:
        flat = [1.0, 1.0, node.attribute("height_scale", 1.0), node.attribute("width_scale", 1.0)]
        scales = np.array(node.attribute("scales", flat), np.float32)
    return _emit_old(node, scales)


@rule("Resize")
def resize(node: Node) -> SSAValue:
    """Resize. Source: ONNX Resize-19; version 10 has asymmetric coordinates and no sizes."""
    if node.opset < 11:
        return _emit_old(node, node.constant(1).astype(np.float32))
    rank = len(node.shape(0))
    axes = from_front(node, node.attribute("axes") or range(rank), rank)
    shape, scales = _sizes(node, axes) if node.has(3) else _scaled(node, axes)
    common: dict[str, Any] = {
        "shape": shape,
        "scales": scales,
        "coordinate_transformation_mode": node.attribute("coordinate_transformation_mode", "half_pixel"),
        "extrapolation_value": node.attribute("extrapolation_value", 0.0),
    }
    if common["coordinate_transformation_mode"] == "tf_crop_and_resize":
        common["roi"] = _roi(node, axes)
    if node.attribute("mode", "nearest") == "nearest":
        nearest_mode = node.attribute("nearest_mode", "round_prefer_floor")
        return node.emit(ResizeNearest, node.value(0), nearest_mode=nearest_mode, **common)
    return node.emit(
        Resize, node.value(0), mode=node.attribute("mode"), cubic_coeff_a=node.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.attribute("exclude_outside", 0)), antialias=bool(node.attribute("antialias", 0)),
        **common,
    )  # fmt: skip


def _emit_old(node: Node, scales: np.ndarray) -> SSAValue:
    """Emit Upsample or Resize-10; where an operand shrinks onnxruntime takes the next element, else the one before."""
    if len(scales) != len(node.shape(0)):
        raise node.refuse(f"{len(scales)} scales for {len(node.shape(0))} dimensions")
    common: dict[str, Any] = {
        "shape": [_floor_size(s, n) for s, n in zip(scales, node.shape(0), strict=True)],
        "scales": scales,
        "coordinate_transformation_mode": "asymmetric",
    }
    mode = node.attribute("mode", "nearest")
    if mode in LINEAR:
        return node.emit(Resize, node.value(0), mode="linear", **common)
    if mode != "nearest" or (min(scales) < 1 < max(scales)):
        raise node.refuse(f"mode {mode} with scales {scales.tolist()}")
    return node.emit(ResizeNearest, node.value(0), nearest_mode="ceil" if min(scales) < 1 else "floor", **common)


def _floor_size(scale: np.float32, size: int) -> int:
    return int(np.floor(scale * np.float32(size)))


def _scaled(node: Node, axes: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return shape and scales where scales are given."""
    old, given = node.shape(0), node.constant(2).astype(np.float32)
    if len(given) != len(axes):
        raise node.refuse(f"{len(given)} scales for {len(axes)} axes")
    scales = [np.float32(1)] * len(old)
    for axis, scale in zip(axes, given, strict=True):
        scales[axis] = scale
    return [_floor_size(s, n) for s, n in zip(scales, old, strict=True)], [float(s) for s in scales]


def _sizes(node: Node, axes: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return shape and scales where sizes are given; a policy makes one scale of them and rounds the sizes to it."""
    old, given = node.shape(0), node.ints(3) or []
    if len(given) != len(axes):
        raise node.refuse(f"{len(given)} sizes for {len(axes)} axes")
    wanted = [np.float32(size) / np.float32(old[axis]) for axis, size in zip(axes, given, strict=True)]
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        wanted = [min(wanted) if policy == "not_larger" else max(wanted)] * len(axes)
        given = [max(1, int(np.floor(s * np.float32(old[a]) + 0.5))) for s, a in zip(wanted, axes, strict=True)]
    shape, scales = list(old), [1.0] * len(old)
    for axis, size, scale in zip(axes, given, wanted, strict=True):
        shape[axis], scales[axis] = size, float(scale)
    return shape, scales


def _roi(node: Node, axes: Sequence[int]) -> list[float]:
    """Return starts, then ends, of every dimension."""
    rank, given = len(node.shape(0)), node.constant(1).reshape(-1)
    if len(given) != 2 * len(axes):
        raise node.refuse(f"a roi of {len(given)} values for {len(axes)} axes")
    roi = [0.0] * rank + [1.0] * rank
    for i, axis in enumerate(axes):
        roi[axis], roi[axis + rank] = float(given[i]), float(given[i + len(axes)])
    return roi
