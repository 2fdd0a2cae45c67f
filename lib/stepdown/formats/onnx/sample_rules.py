"""Operators that sample a feature map between its elements."""

from typing import Any

from xdsl.ir import SSAValue

from stepdown.dialects.top.sample import GridSample, RoiAlign
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@rule("GridSample")
def grid_sample(node: Node) -> SSAValue:
    """GridSample; version 16 calls the modes bilinear and bicubic. Source: ONNX GridSample-22."""
    mode = node.attribute("mode", "linear")
    return node.emit(
        GridSample, node.value(0), node.value(1), mode=_MODES.get(mode, mode),
        padding_mode=node.attribute("padding_mode", "zeros"), align_corners=bool(node.attribute("align_corners", 0)),
    )  # fmt: skip


@rule("RoiAlign")
def roi_align(node: Node) -> SSAValue:
    """RoiAlign; before version 16 coordinates are not shifted by half an element. Source: ONNX RoiAlign-22."""
    shift = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    defaults: dict[str, Any] = {
        "coordinate_transformation_mode": shift, "mode": "avg", "output_height": 1, "output_width": 1,
        "sampling_ratio": 0, "spatial_scale": 1.0,
    }  # fmt: skip
    attributes = {name: node.attribute(name, default) for name, default in defaults.items()}
    return node.emit(RoiAlign, *node.values(), **attributes)
