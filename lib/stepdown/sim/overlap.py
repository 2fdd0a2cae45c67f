"""Whether two tensors share a byte, exactly."""

import math

import numpy as np

from stepdown.npu.cost import span
from stepdown.npu.isa import Tensor


def overlap(a: Tensor, b: Tensor, lanes: int) -> bool:
    """Tell whether two tensors in memory have a byte in common; strides and lanes are taken as they are."""
    if a.space != b.space:
        return False
    (low_a, high_a), (low_b, high_b) = span(a, lanes), span(b, lanes)
    low, high = max(low_a, low_b), min(high_a, high_b)
    if low >= high:
        return False
    if a.space == "global" and _dense(a) and _dense(b):
        return True
    shared = lanes if a.space == "local" else 1
    touched = np.zeros((2, shared, high - low), np.bool_)
    for side, tensor in enumerate((a, b)):
        _touch(touched[side], tensor, low, lanes)
    return bool((touched[0] & touched[1]).any())


def _dense(tensor: Tensor) -> bool:
    """Tell whether a tensor in global memory touches every byte between its first and its last."""
    low, high = span(tensor, 1)
    return high - low == math.prod(tensor.shape) * tensor.element_bytes


def _touch(touched: np.ndarray, tensor: Tensor, low: int, lanes: int) -> None:
    """Mark the bytes of a tensor in touched[lanes or 1, bytes from low on]."""
    n, c, h, w = tensor.shape
    step_n, step_c, step_h, step_w = tensor.strides
    plane = tensor.address + _lattice((n, h, w, tensor.element_bytes), (step_n, step_h, step_w, 1))
    if tensor.space == "global":
        _mark(touched[0], (plane[:, None] + np.arange(c, dtype=np.int64) * step_c).reshape(-1) - low)
        return
    for group in range(-(-(tensor.lane + c) // lanes)):
        first, last = max(0, tensor.lane - group * lanes), min(lanes, tensor.lane + c - group * lanes)
        row = np.zeros(touched.shape[1], np.bool_)
        _mark(row, plane + group * step_c - low)
        touched[first:last] |= row


def _lattice(sizes: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """Return all sums of multiples of the steps, each once."""
    at = np.zeros(1, np.int64)
    for size, step in zip(sizes, steps, strict=True):
        if step:
            at = (at[:, None] + np.arange(size, dtype=np.int64) * step).reshape(-1)
    return at


def _mark(row: np.ndarray, offsets: np.ndarray) -> None:
    row[offsets[(offsets >= 0) & (offsets < row.size)]] = True
