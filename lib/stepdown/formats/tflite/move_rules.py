"""Operators that move elements: shapes, axes and positions are constants."""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top import move as top
from stepdown.dialects.top.index import Gather, ScatterND
from stepdown.dialects.top.reorder import ReverseSequence
from stepdown.dialects.types import quant_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import rule
from stepdown.numerics.quantize import dequantize


def axis_of(node: Node, axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    Raises:
        UnsupportedModel: it is outside a tensor of `rank` dimensions.
    """
    if not -rank <= axis < rank:
        raise node.refuse(f"axis {axis} does not fit {rank} dimensions")
    return axis % rank


@rule("RESHAPE")
def reshape(node: Node) -> SSAValue:
    """The new shape is the second operand, or the option in old files; −1 takes what is left."""
    wanted = node.ints(1, "NewShape") if node.has(1) or node.attribute("NewShape") is not None else []
    return node.emit(top.Reshape, node.given(0), shape=_completed(node.shape(0), wanted or []))


def _completed(old: Sequence[int], wanted: Sequence[int]) -> list[int]:
    known = math.prod(n for n in wanted if n != -1)
    return [math.prod(old) // known if n == -1 and known else n for n in wanted]


@rule("SQUEEZE")
def squeeze(node: Node) -> SSAValue:
    """Without the dimensions of size 1 that SqueezeDims names, or all of them."""
    old = node.shape(0)
    named = [axis_of(node, a, len(old)) for a in node.attribute("SqueezeDims", []) or []]
    gone = named or [i for i, n in enumerate(old) if n == 1]
    if any(old[i] != 1 for i in gone):
        raise node.refuse(f"drops dimensions {gone} of {list(old)}")
    return node.emit(top.Reshape, node.given(0), shape=[n for i, n in enumerate(old) if i not in gone])


@rule("EXPAND_DIMS")
def expand_dims(node: Node) -> SSAValue:
    """A dimension of size 1 more, before the one that the second operand names."""
    old = list(node.shape(0))
    axis = axis_of(node, (node.ints(1) or [0])[0], len(old) + 1)
    return node.emit(top.Reshape, node.given(0), shape=[*old[:axis], 1, *old[axis:]])


@rule("TRANSPOSE")
def transpose(node: Node) -> SSAValue:
    """Dimensions in another order."""
    order = [axis_of(node, a, len(node.shape(0))) for a in node.ints(1) or []]
    return node.emit(top.Transpose, node.given(0), order=order)


@rule("CONCATENATION")
def concatenation(node: Node) -> SSAValue:
    """All operands one after the other along Axis."""
    axis = axis_of(node, int(node.attribute("Axis", 0)), len(node.shape(0)))
    return node.activated(top.Concat, *node.values(), axis=axis)


@rule("PACK")
def pack(node: Node) -> SSAValue:
    """Operands of one shape stacked along a new dimension Axis."""
    old = list(node.shape(0))
    axis = axis_of(node, int(node.attribute("Axis", 0)), len(old) + 1)
    raised = [*old[:axis], 1, *old[axis:]]
    layers = [node.part(f"layer{i}", top.Reshape, v, shape=raised) for i, v in enumerate(node.values())]
    return node.emit(top.Concat, *layers, axis=axis)


@rule("UNPACK")
def unpack(node: Node) -> list[SSAValue]:
    """The slices along Axis, each without that dimension."""
    old = list(node.shape(0))
    axis = axis_of(node, int(node.attribute("Axis", 0)), len(old))
    if old[axis] != len(node.outputs):
        raise node.refuse(f"makes {len(node.outputs)} tensors of {old} along {axis}")
    dropped = [*old[:axis], *old[axis + 1 :]]
    return [
        node.output(i, top.Reshape, _slice(node, f"slice{i}", axis, i, i + 1), shape=dropped)
        for i in range(len(node.outputs))
    ]


def _slice(node: Node, label: str, axis: int, start: int, end: int) -> SSAValue:
    rank, sizes = len(node.shape(0)), node.shape(0)
    starts = [start if i == axis else 0 for i in range(rank)]
    ends = [end if i == axis else n for i, n in enumerate(sizes)]
    return node.part(label, top.Slice, node.given(0), starts=starts, ends=ends, steps=[1] * rank)


@rule("SPLIT")
def split(node: Node) -> list[SSAValue]:
    """Operands: axis, input. As many equal pieces as there are outputs."""
    old, count = node.shape(1), len(node.outputs)
    axis = axis_of(node, (node.ints(0) or [0])[0], len(old))
    if old[axis] % count:
        raise node.refuse(f"cuts {old[axis]} into {count}")
    return node.emit_all(top.Split, node.given(1), axis=axis, sizes=[old[axis] // count] * count)


@rule("SPLIT_V")
def split_v(node: Node) -> list[SSAValue]:
    """Operands: input, sizes, axis. One size may be −1: what is left."""
    old, sizes = node.shape(0), node.ints(1) or []
    axis = axis_of(node, (node.ints(2) or [0])[0], len(old))
    left = old[axis] - sum(n for n in sizes if n >= 0)
    return node.emit_all(top.Split, node.given(0), axis=axis, sizes=[left if n == -1 else n for n in sizes])


@rule("SLICE")
def slice_(node: Node) -> SSAValue:
    """Operands: input, begin, size; a size of −1 reaches to the end."""
    old, begin, size = node.shape(0), node.ints(1) or [], node.ints(2) or []
    if not len(old) == len(begin) == len(size):
        raise node.refuse(f"takes {size} at {begin} of {list(old)}")
    ends = [n if s == -1 else b + s for n, b, s in zip(old, begin, size, strict=True)]
    return node.emit(top.Slice, node.given(0), starts=begin, ends=ends, steps=[1] * len(old))


@rule("PAD", "PADV2")
def pad(node: Node) -> SSAValue:
    """Operands: input, [begin, end] a dimension, and for PADV2 the value; PAD adds zeros."""
    sides = node.constant(1).reshape(-1, 2)
    value = 0.0
    if node.has(2):
        value = _real_scalar(node, 2)
    return node.emit(top.Pad, node.given(0), pads=[*sides[:, 0].tolist(), *sides[:, 1].tolist()], value=value)


def _real_scalar(node: Node, index: int) -> float:
    """Return a constant of one element as a real number."""
    stored, params = node.constant(index), quant_of(node.given(index))
    return float((dequantize(stored, params) if params else stored).reshape(-1)[0])


@rule("MIRROR_PAD")
def mirror_pad(node: Node) -> SSAValue:
    """REFLECT leaves the edge out, SYMMETRIC repeats it."""
    sides = node.constant(1).reshape(-1, 2)
    if node.attribute("Mode", "REFLECT") == "SYMMETRIC":
        return _symmetric_pad(node, sides)
    pads = [*sides[:, 0].tolist(), *sides[:, 1].tolist()]
    return node.emit(top.Pad, node.given(0), pads=pads, mode="reflect")


def _symmetric_pad(node: Node, sides: np.ndarray) -> SSAValue:
    """Gather every dimension that grows at the mirrored positions."""
    value, sizes = node.given(0), node.shape(0)
    grown = [i for i, side in enumerate(sides) if side.any()]
    for axis in grown:
        at = node.weight(np.pad(np.arange(sizes[axis]), tuple(sides[axis].tolist()), "symmetric"), f"mirror{axis}")
        last = axis == grown[-1]
        value = node.emit(Gather, value, at, axis=axis) if last else node.part(f"m{axis}", Gather, value, at, axis=axis)
    return value if grown else node.emit(top.Reshape, value, shape=list(sizes))


@rule("TILE")
def tile(node: Node) -> SSAValue:
    """Repeats each dimension."""
    return node.emit(top.Tile, node.given(0), repeats=node.ints(1) or [])


@rule("BROADCAST_TO")
def broadcast_to(node: Node) -> SSAValue:
    """Repeats dimensions of size 1 up to a shape."""
    return node.emit(top.Expand, node.given(0), shape=node.ints(1) or [])


@rule("REVERSE_V2")
def reverse(node: Node) -> SSAValue:
    """Dimensions walked backwards."""
    sizes = node.shape(0)
    axes = {axis_of(node, a, len(sizes)) for a in node.ints(1) or []}
    starts = [n - 1 if i in axes else 0 for i, n in enumerate(sizes)]
    ends = [-1 if i in axes else n for i, n in enumerate(sizes)]
    steps = [-1 if i in axes else 1 for i in range(len(sizes))]
    return node.emit(top.Slice, node.given(0), starts=starts, ends=ends, steps=steps)


@rule("REVERSE_SEQUENCE")
def reverse_sequence(node: Node) -> SSAValue:
    """The first elements along SeqDim backwards, as many as the second operand says for each of BatchDim."""
    batch, time = int(node.attribute("BatchDim", 0)), int(node.attribute("SeqDim", 0))
    return node.emit(ReverseSequence, node.given(0), node.given(1), batch_axis=batch, time_axis=time)


@rule("IDENTITY_N", "DENSIFY", "STABLEHLO_OPTIMIZATION_BARRIER")
def same(node: Node) -> list[SSAValue]:
    """The operands themselves: sparse constants are made dense when the file is read."""
    return [node.alias(node.given(i), i) for i in range(len(node.outputs))]


@rule("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(node: Node) -> SSAValue:
    """Operands: input, update, start; the update at constant positions, moved inwards where it would not fit."""
    old, new = node.shape(0), node.shape(1)
    starts = [min(max(s, 0), n - m) for s, n, m in zip(node.ints(2) or [], old, new, strict=True)]
    node.room_for([*new, len(new)])
    at = np.stack(np.meshgrid(*(s + np.arange(m) for s, m in zip(starts, new, strict=True)), indexing="ij"), axis=-1)
    return node.emit(ScatterND, node.given(0), node.weight(at, "places"), node.given(1))
