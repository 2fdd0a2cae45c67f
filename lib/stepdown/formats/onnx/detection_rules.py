"""Picking boxes out of many."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("NonMaxSuppression")
def non_max_suppression(node: Node) -> SSAValue:
    """Batch, class and box of what is kept, from constants. Source: ONNX NonMaxSuppression-11.

    The number of boxes kept depends on the values, so that of computed ones is not known.
    """
    boxes, scores = (node.constant(i).astype(np.float64) for i in range(2))
    most, overlap = (node.constant(i).item() if node.has(i) else 0 for i in (2, 3))
    least = node.constant(4).item() if node.has(4) else -np.inf
    corners = _corners(boxes, bool(node.attribute("center_point_box", 0)))
    kept = [
        (batch, kind, box)
        for batch, kind in np.ndindex(*scores.shape[:2])
        for box in _kept(corners[batch], scores[batch, kind], int(most), overlap, least)
    ]
    return node.graph.weight(np.array(kept, np.int64).reshape(-1, 3), node.name)


def _corners(boxes: np.ndarray, centred: bool) -> np.ndarray:
    """Return boxes as their lower, then upper corners; any two opposite ones, or middle and size, are given."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centred:
        return np.concatenate([first - second / 2, first + second / 2], -1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _kept(boxes: np.ndarray, scores: np.ndarray, most: int, overlap: float, least: float) -> list[int]:
    """Return up to `most` boxes above `least`, best first, none over another one by more than `overlap`."""
    order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > least]
    kept: list[int] = []
    for candidate in order:
        if len(kept) >= most:
            break
        if all(_overlap(boxes[candidate], boxes[other]) <= overlap for other in kept):
            kept.append(candidate)
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the common area of two boxes by the area of both together, 0 where one has none."""
    common = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    together = sum(float(np.prod(box[2:] - box[:2])) for box in (a, b)) - common
    return common / together if together > 0 else 0.0
