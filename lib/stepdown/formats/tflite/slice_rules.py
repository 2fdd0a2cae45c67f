"""tf.strided_slice, and the operators that become constants once shapes are known."""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import move as top
from stepdown.formats.tflite.loader import TYPES
from stepdown.formats.tflite.move_rules import axis_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import rule


@rule("SHAPE")
def shape(node: Node) -> SSAValue:
    """The shape, a constant here."""
    return node.weight(np.array(node.shape(0), _integer(node)), "shape")


def _integer(node: Node) -> type:
    return np.int64 if TYPES.get(node.attribute("OutType", 2), ("i32", None))[0] == "i64" else np.int32


@rule("RANK")
def rank(node: Node) -> SSAValue:
    """The number of dimensions, a constant here."""
    return node.weight(np.array(len(node.shape(0)), np.int32), "rank")


@rule("FILL")
def fill(node: Node) -> SSAValue:
    """Operands: shape, value."""
    return node.emit(top.Expand, node.given(1), shape=node.ints(0) or [])


@rule("RANGE")
def range_(node: Node) -> SSAValue:
    """start, start + delta, … before limit; constants."""
    start, limit, delta = (node.constant(i).reshape(-1)[0] for i in range(3))
    if delta == 0:
        raise node.refuse("delta is 0")
    node.room_for([max(0, math.ceil((limit.item() - start.item()) / delta.item()))])
    return node.weight(np.arange(start, limit, delta, dtype=node.constant(0).dtype), "range")


@rule("STRIDED_SLICE")
def strided_slice(node: Node) -> SSAValue:
    """Operands: input, begin, end, strides; bit masks say what each means. Source: tf.strided_slice."""
    cut, kept = _cut_of(node, node.shape(0), [node.ints(i) or [] for i in (1, 2, 3)])
    ranges = [range(*s.indices(n)) for s, n in zip(cut, node.shape(0), strict=True)]
    bounds = {
        "starts": [r.start for r in ranges],
        "ends": [r.stop if r else r.start for r in ranges],
        "steps": [r.step for r in ranges],
    }
    shape = [n for i in kept for n in ([1] if i is None else [len(ranges[i])])]
    if kept == list(range(len(ranges))):
        return node.emit(top.Slice, node.given(0), **bounds)
    taken = node.part("taken", top.Slice, node.given(0), **bounds)
    return node.emit(top.Reshape, taken, shape=shape)


def _cut_of(node: Node, old: Sequence[int], positions: list[list[int]]) -> tuple[list[slice], list[int | None]]:
    """Return the slice of each dimension, and the dimensions of the result: an old one, or None for a new one of 1."""
    begins, ends, strides = positions
    if not len(begins) == len(ends) == len(strides) or 0 in strides:
        raise node.refuse(f"takes {begins} to {ends} by {strides}")
    masks = {k: int(node.attribute(f"{k}Mask", 0)) for k in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")}
    cuts: list[slice] = []
    kept: list[int | None] = []
    for i in range(len(begins)):
        bit = 1 << i
        if masks["Ellipsis"] & bit:
            after = sum(1 for j in range(i + 1, len(begins)) if not masks["NewAxis"] >> j & 1)
            for _ in range(len(old) - len(cuts) - after):
                kept.append(len(cuts))
                cuts.append(slice(None))
        elif masks["NewAxis"] & bit:
            kept.append(None)
        elif masks["ShrinkAxis"] & bit:
            at = axis_of(node, begins[i], old[len(cuts)])
            cuts.append(slice(at, at + 1))
        else:
            kept.append(len(cuts))
            begin = None if masks["Begin"] & bit else begins[i]
            offset = begins[i] if node.attribute("Offset", False) and begin is not None else 0
            cuts.append(slice(begin, None if masks["End"] & bit else ends[i] + offset, strides[i]))
    for axis in range(len(cuts), len(old)):
        kept.append(axis)
        cuts.append(slice(None))
    return cuts, kept
