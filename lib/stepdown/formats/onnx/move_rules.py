"""Operators that move elements: shapes, axes and sizes are constants, or attributes in old operator sets."""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import move as top
from stepdown.dialects.top.reorder import DepthToSpace, ReverseSequence, SpaceToDepth, Trilu
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


def axis_of(node: Node, rank: int, default: int = 0, name: str = "axis") -> int:
    """Return the axis attribute counted from the front.

    Raises:
        UnsupportedModel: it is outside a tensor of `rank` dimensions.
    """
    return from_front(node, [node.attribute(name, default)], rank)[0]


def from_front(node: Node, axes: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the front, in the order given.

    Raises:
        UnsupportedModel: one is outside a tensor of `rank` dimensions, or given twice.
    """
    found = [a + rank if a < 0 else a for a in axes]
    if any(not 0 <= a < rank for a in found) or len(set(found)) != len(found):
        raise node.refuse(f"axes {list(axes)} do not fit {rank} dimensions")
    return found


@rule("Reshape")
def reshape(node: Node) -> SSAValue:
    """Reshape: 0 keeps a size (but with allowzero), -1 takes what is left. Source: ONNX Reshape-21."""
    old = node.shape(0)
    wanted = node.ints(1, "shape") or []
    if not node.attribute("allowzero", 0):
        if any(n == 0 and i >= len(old) for i, n in enumerate(wanted)):
            raise node.refuse(f"shape {wanted} keeps a dimension that {old} does not have")
        wanted = [old[i] if n == 0 else n for i, n in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = int(np.prod([n for n in wanted if n != -1], dtype=np.int64))
        left = int(np.prod(old, dtype=np.int64)) // known if known else 0
        wanted = [left if n == -1 else n for n in wanted]
    return node.emit(top.Reshape, node.value(0), shape=wanted)


@rule("Flatten")
def flatten(node: Node) -> SSAValue:
    """Two dimensions: those before `axis`, and those from it on. Source: ONNX Flatten-25."""
    old = node.shape(0)
    axis = node.attribute("axis", 1)
    axis = axis + len(old) if axis < 0 else axis
    if not 0 <= axis <= len(old):
        raise node.refuse(f"axis {axis} does not fit {len(old)} dimensions")
    rows = int(np.prod(old[:axis], dtype=np.int64))
    return node.emit(top.Reshape, node.value(0), shape=[rows, int(np.prod(old[axis:], dtype=np.int64))])


@rule("Squeeze")
def squeeze(node: Node) -> SSAValue:
    """Without the dimensions `axes`, or without all of size 1. Source: ONNX Squeeze-25."""
    old, axes = node.shape(0), node.ints(1, "axes")
    gone = [i for i, n in enumerate(old) if n == 1] if axes is None else from_front(node, axes, len(old))
    if any(old[a] != 1 for a in gone):
        raise node.refuse(f"axes {axes} of {old} are not 1")
    return node.emit(top.Reshape, node.value(0), shape=[n for i, n in enumerate(old) if i not in gone])


@rule("Unsqueeze")
def unsqueeze(node: Node) -> SSAValue:
    """With dimensions of size 1 at the result's `axes`. Source: ONNX Unsqueeze-25."""
    old, axes = node.shape(0), node.ints(1, "axes") or []
    new = from_front(node, axes, len(old) + len(axes))
    sizes = iter(old)
    shape = [1 if i in new else next(sizes) for i in range(len(old) + len(axes))]
    return node.emit(top.Reshape, node.value(0), shape=shape)


@rule("Transpose")
def transpose(node: Node) -> SSAValue:
    """Permuted dimensions, reversed where `perm` is absent. Source: ONNX Transpose-25."""
    rank = len(node.shape(0))
    perm = node.attribute("perm") or range(rank - 1, -1, -1)
    return node.emit(top.Transpose, node.value(0), order=from_front(node, perm, rank))


@rule("Concat")
def concat(node: Node) -> SSAValue:
    """Concat. Source: ONNX Concat-13."""
    return node.emit(top.Concat, *node.values(), axis=axis_of(node, len(node.shape(0)), 1))


@rule("Slice")
def slice_(node: Node) -> SSAValue:
    """Slice with starts, ends, axes and steps clamped as the standard says. Source: ONNX Slice-13, Slice-1."""
    shape = node.shape(0)
    starts, ends = node.ints(1, "starts") or [], node.ints(2, "ends") or []
    axes = from_front(node, node.ints(3, "axes") or range(len(starts)), len(shape))
    steps = node.ints(4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.refuse(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit each other")
    cuts = [(0, n, 1) for n in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis] = _cut(start, end, step, shape[axis])
    first, last, by = (list(column) for column in zip(*cuts, strict=True)) if cuts else ([], [], [])
    return node.emit(top.Slice, node.value(0), starts=first, ends=last, steps=by)


def _cut(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """Return start, end and step that take the same elements and lie within the dimension."""
    low, high = (-1, size - 1) if step < 0 else (0, size)
    start, end = (n + size if n < 0 else n for n in (start, end))
    taken = range(min(max(start, 0), high), min(max(end, low), high), step)
    return (taken.start, taken.stop, step) if taken else (0, 0, 1)


@rule("Split")
def split(node: Node) -> list[SSAValue]:
    """Parts of given sizes, or `num_outputs` equal ones of which the last may be smaller. Source: ONNX Split-18."""
    shape = node.shape(0)
    axis = axis_of(node, len(shape))
    sizes = node.ints(1, "split")
    if sizes is None:
        count = node.attribute("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise node.refuse(f"{len(node.outputs)} outputs for {count} parts")
        part = -(-shape[axis] // count)
        sizes = [max(0, min(part, shape[axis] - i * part)) for i in range(count)]
    if len(sizes) != len(node.outputs):
        raise node.refuse(f"{len(node.outputs)} outputs for parts of {sizes}")
    return node.emit_all(top.Split, node.value(0), axis=axis, sizes=sizes)


@rule("Pad")
def pad(node: Node) -> SSAValue:
    """Pad with pads and value as operands, or as attributes (`paddings` in the first set). Source: ONNX Pad-25."""
    rank = len(node.shape(0))
    pads = node.ints(1, "pads" if "pads" in node.attributes else "paddings") or []
    axes = from_front(node, node.ints(3) or range(rank), rank)
    if len(pads) != 2 * len(axes):
        raise node.refuse(f"{len(pads)} pads for {len(axes)} axes")
    sides = [0] * 2 * rank
    for i, axis in enumerate(axes):
        sides[axis], sides[axis + rank] = pads[i], pads[i + len(axes)]
    mode = node.attribute("mode", "constant")
    return node.emit(top.Pad, node.value(0), pads=sides, mode=mode, value=_pad_value(node))


def _pad_value(node: Node) -> float:
    constant = node.constant(2).reshape(-1) if node.has(2) else np.zeros(1)
    if len(constant) != 1 or (constant.dtype.kind in "iu" and int(float(constant[0])) != int(constant[0])):
        raise node.refuse(f"pads with {constant.tolist()}, which is not one number that float64 holds")
    return float(constant[0]) if node.has(2) else float(node.attribute("value", 0.0))


@rule("CenterCropPad")
def center_crop_pad(node: Node) -> SSAValue:
    """The middle of the operand cut out, or zeros around it, to reach `shape`. Source: ONNX CenterCropPad-18."""
    old = node.shape(0)
    wanted = node.ints(1) or []
    axes = from_front(node, node.attribute("axes") or range(len(old)), len(old))
    if len(wanted) != len(axes):
        raise node.refuse(f"shape {wanted} for {len(axes)} axes")
    pads = [0] * 2 * len(old)
    for axis, size in zip(axes, wanted, strict=True):
        grows = size - old[axis]  # where the number is odd, the greater half goes to the end
        before = grows // 2 if grows > 0 else -(-grows // 2)
        pads[axis], pads[axis + len(old)] = before, grows - before
    return node.emit(top.Pad, node.value(0), pads=pads)


@rule("Expand")
def expand(node: Node) -> SSAValue:
    """The operand and `shape` broadcast to each other. Source: ONNX Expand-13."""
    try:
        shape = np.broadcast_shapes(node.shape(0), tuple(node.ints(1) or ()))
    except ValueError:
        raise node.refuse(f"{node.shape(0)} cannot be broadcast to {node.ints(1)}") from None
    return node.emit(top.Expand, node.value(0), shape=shape)


@rule("Tile")
def tile(node: Node) -> SSAValue:
    """Tile. Source: ONNX Tile-13."""
    return node.emit(top.Tile, node.value(0), repeats=node.ints(1) or [])


@rule("DepthToSpace")
def depth_to_space(node: Node) -> SSAValue:
    """DepthToSpace. Source: ONNX DepthToSpace-13."""
    mode = node.attribute("mode", "DCR")
    return node.emit(DepthToSpace, node.value(0), block_size=node.attribute("blocksize"), mode=mode)


@rule("SpaceToDepth")
def space_to_depth(node: Node) -> SSAValue:
    """SpaceToDepth. Source: ONNX SpaceToDepth-13."""
    mode = node.attribute("mode", "DCR")
    return node.emit(SpaceToDepth, node.value(0), block_size=node.attribute("blocksize"), mode=mode)


@rule("Trilu")
def trilu(node: Node) -> SSAValue:
    """Trilu. Source: ONNX Trilu-14."""
    k = (node.ints(1) or [0])[0]
    return node.emit(Trilu, node.value(0), upper=bool(node.attribute("upper", 1)), k=k)


@rule("ReverseSequence")
def reverse_sequence(node: Node) -> SSAValue:
    """ReverseSequence. Source: ONNX ReverseSequence-10."""
    axes = {name: node.attribute(name, default) for name, default in (("batch_axis", 1), ("time_axis", 0))}
    return node.emit(ReverseSequence, node.value(0), node.value(1), **axes)
