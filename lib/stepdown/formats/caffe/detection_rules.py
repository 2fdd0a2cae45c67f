"""The layers of SSD that make boxes."""

import math
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.detection import DetectionOutput
from stepdown.formats.caffe.node import Node
from stepdown.formats.caffe.rules import rule
from stepdown.formats.node import MAX_FOLDED_BYTES

_SAME_RATIO = 1e-6


@rule("PriorBox")
def prior_box(node: Node) -> SSAValue:
    """Boxes of given sizes around every pixel of the first blob: a constant [1, 2, P·4], corners, then variances.

    Source: SSD PriorBoxLayer.
    """
    param, shape, image = node.message.prior_box_param, node.shape(0), _image_size(node)
    if len(shape) != 4 or not param.min_size or len(param.variance) not in (0, 1, 4):
        raise node.refuse(f"min_size {list(param.min_size)}, variance {list(param.variance)}, a blob of shape {shape}")
    sizes = _box_sizes(node, param)
    count = shape[2] * shape[3] * len(sizes) * 4
    if 8 * count > MAX_FOLDED_BYTES:
        raise node.refuse(f"{count // 4} boxes are more than a constant may hold")
    corners = _corners(_centres(param, shape[2:], image), np.array(sizes, np.float32), image)
    corners = np.clip(corners, 0, 1) if param.clip else corners
    variance = np.array(list(param.variance) or [0.1], np.float32)
    variances = np.resize(variance, count)
    return node.graph.weight(np.stack([corners.reshape(-1), variances])[None].astype(np.float32), node.name)


@rule("DetectionOutput")
def detection_output(node: Node) -> SSAValue:
    """The best boxes; Caffe gives as many rows as there are, we give a fixed number, filled up with −1.

    Source: SSD DetectionOutputLayer.
    """
    param = node.message.detection_output_param
    if len(node.inputs) != 3:
        raise node.refuse(f"{len(node.inputs)} bottoms, only locations, confidences and priors are supported")
    code = param.DESCRIPTOR.fields_by_name["code_type"].enum_type.values_by_number[param.code_type].name
    same = ("num_classes", "share_location", "background_label_id", "variance_encoded_in_target", "keep_top_k")
    nms = {"nms_threshold": param.nms_param.nms_threshold, "top_k": param.nms_param.top_k, "eta": param.nms_param.eta}
    least = param.confidence_threshold if param.HasField("confidence_threshold") else -math.inf
    return node.emit(
        DetectionOutput, *node.values(), **{name: getattr(param, name) for name in same}, **nms,
        code_type=code, confidence_threshold=least,
    )  # fmt: skip


def _image_size(node: Node) -> tuple[int, int]:
    """Return height and width of the picture: as the parameters say, else those of the second bottom."""
    param = node.message.prior_box_param
    given = (param.img_size, param.img_size) if param.img_size else (param.img_h, param.img_w)
    if all(given):
        return given
    if len(node.inputs) < 2 or len(node.shape(1)) != 4:
        raise node.refuse("the picture's size is not given and the second bottom is no picture")
    return node.shape(1)[2], node.shape(1)[3]


def _box_sizes(node: Node, param: Any) -> list[tuple[float, float]]:
    """Return width and height of the boxes at each pixel, in their order; SSD cuts sizes off to whole pixels."""
    least, most = [int(size) for size in param.min_size], [int(size) for size in param.max_size]
    if most and len(most) != len(least):
        raise node.refuse(f"{len(least)} values of min_size and {len(most)} of max_size")
    boxes: list[tuple[float, float]] = []
    for i, size in enumerate(least):
        middle = [math.sqrt(size * most[i])] if most else []
        boxes += [(size, size), *((side, side) for side in middle)]
        boxes += [(size * math.sqrt(r), size / math.sqrt(r)) for r in _ratios(node, param)]
    return boxes


def _ratios(node: Node, param: Any) -> list[float]:
    """Return the aspect ratios other than 1, each once, each followed by its inverse with `flip`."""
    found = [1.0]
    for ratio in param.aspect_ratio:
        if ratio <= 0:
            raise node.refuse(f"the aspect ratio {ratio}")
        if all(abs(ratio - other) >= _SAME_RATIO for other in found):
            found += [ratio, 1 / ratio] if param.flip else [ratio]
    return [ratio for ratio in found if abs(ratio - 1) >= _SAME_RATIO]


def _centres(param: Any, size: tuple[int, ...], image: tuple[int, int]) -> np.ndarray:
    """Return the middle of each pixel in the picture, float32[H, W, (x, y)]."""
    steps = (param.step, param.step) if param.step else (param.step_h, param.step_w)
    if not all(steps):
        steps = (image[0] / size[0], image[1] / size[1])
    offset = np.float32(param.offset)
    rows, columns = (
        (np.arange(n, dtype=np.float32) + offset) * np.float32(step) for n, step in zip(size, steps, strict=True)
    )
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def _corners(centres: np.ndarray, sizes: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    """Return the corners of all boxes as parts of the picture, [H, W, boxes, 4]."""
    at, half = centres[:, :, None, :], sizes / np.float32(2)
    return np.concatenate([at - half, at + half], axis=-1) / np.array([image[1], image[0]] * 2, np.float32)
