"""Layers that move elements without computing."""

import math
from collections.abc import Sequence
from itertools import pairwise

from xdsl.ir import SSAValue

from stepdown.dialects.top.move import Reshape, Slice, Split, Tile, Transpose
from stepdown.dialects.top.resize import Resize, ResizeNearest
from stepdown.dialects.types import shape_of
from stepdown.formats.caffe.network import NOTHING
from stepdown.formats.caffe.node import Node
from stepdown.formats.caffe.rules import rule


@rule(*NOTHING)
def identity(node: Node) -> list[SSAValue]:
    """Dropout and Split give what they read."""
    return [node.alias(node.value(0), i) for i in range(len(node.outputs))]


@rule("Flatten")
def flatten(node: Node) -> SSAValue:
    """The dimensions from `axis` to `end_axis` as one. Source: Caffe FlattenLayer."""
    param, shape = node.message.flatten_param, node.shape(0)
    first, last = node.axis(param.axis), node.axis(param.end_axis)
    if last < first:
        raise node.refuse(f"axis {param.axis} lies behind end_axis {param.end_axis}")
    flat = math.prod(shape[first : last + 1])
    return node.emit(Reshape, node.value(0), shape=(*shape[:first], flat, *shape[last + 1 :]))


@rule("Reshape")
def reshape(node: Node) -> SSAValue:
    """num_axes dimensions from `axis` on become others: 0 is the old size, −1 what is left. Source: ReshapeLayer."""
    param, shape = node.message.reshape_param, node.shape(0)
    first = node.axis(param.axis, extra=1) if param.axis >= 0 else node.axis(param.axis + 1, extra=1) or len(shape)
    end = len(shape) if param.num_axes < 0 else first + param.num_axes
    if end > len(shape):
        raise node.refuse(f"num_axes {param.num_axes} from axis {param.axis} of a blob of shape {shape}")
    wanted = [_size(node, size, first + i) for i, size in enumerate(param.shape.dim)]
    outer = math.prod(shape[:first]) * math.prod(shape[end:])
    return node.emit(Reshape, node.value(0), shape=(*shape[:first], *_completed(node, wanted, outer), *shape[end:]))


def _size(node: Node, size: int, axis: int) -> int:
    """Return a size of the new shape, 0 replaced by the old one."""
    if size < -1 or (size == 0 and axis >= len(node.shape(0))):
        raise node.refuse(f"the size {size} at dimension {axis} of a blob of shape {node.shape(0)}")
    return node.shape(0)[axis] if size == 0 else size


def _completed(node: Node, wanted: list[int], outer: int) -> list[int]:
    """Return the sizes with −1 replaced by what is left."""
    if wanted.count(-1) > 1:
        raise node.refuse("more than one size is −1")
    known = outer * math.prod(size for size in wanted if size != -1)
    count = math.prod(node.shape(0))
    if -1 in wanted and (known == 0 or count % known):
        raise node.refuse(f"a blob of shape {node.shape(0)} does not divide into {wanted}")
    return [count // known if size == -1 else size for size in wanted]


@rule("Permute")
def permute(node: Node) -> SSAValue:
    """Dimension i of the result is dimension order[i]; those not named follow in order. Source: SSD PermuteLayer."""
    order = list(node.message.permute_param.order)
    rest = [i for i in range(len(node.shape(0))) if i not in order]
    return node.emit(Transpose, node.value(0), order=[*order, *rest])


@rule("Slice")
def slice_(node: Node) -> SSAValue | list[SSAValue]:
    """Consecutive parts along `axis`, of equal size where no points are given. Source: Caffe SliceLayer."""
    param, count = node.message.slice_param, len(node.outputs)
    axis = node.axis(param.slice_dim if param.HasField("slice_dim") else param.axis)
    size, points = node.shape(0)[axis], list(param.slice_point)
    if not points and count and size % count == 0:
        points = [size // count * i for i in range(1, count)]
    edges = [0, *points, size]
    parts = [end - start for start, end in pairwise(edges)]
    if len(parts) != count or min(parts) < 1:
        raise node.refuse(f"{size} elements at the points {points} for {count} tops")
    if count == 1:
        return node.alias(node.value(0))
    return node.emit_all(Split, node.value(0), axis=axis, sizes=parts)


@rule("Crop")
def crop(node: Node) -> SSAValue:
    """As much of the first blob, from `axis` on, as the second is large. Source: Caffe CropLayer."""
    param, shape, wanted = node.message.crop_param, node.shape(0), node.shape(1)
    axis = node.axis(param.axis)
    offsets = list(param.offset) or [0]
    offsets = offsets * (len(shape) - axis) if len(offsets) == 1 else offsets
    if len(wanted) != len(shape) or len(offsets) != len(shape) - axis:
        raise node.refuse(f"{len(offsets)} offsets from axis {axis} of {shape} to {wanted}")
    starts = [0] * axis + offsets
    ends = [*shape[:axis], *(o + n for o, n in zip(offsets, wanted[axis:], strict=True))]
    return node.emit(Slice, node.value(0), starts=starts, ends=ends, steps=[1] * len(shape))


@rule("Tile")
def tile(node: Node) -> SSAValue:
    """The blob repeated `tiles` times along `axis`."""
    param = node.message.tile_param
    if param.tiles < 1:
        raise node.refuse(f"tiles is {param.tiles}")
    repeats = [1] * len(node.shape(0))
    repeats[node.axis(param.axis)] = param.tiles
    return node.emit(Tile, node.value(0), repeats=repeats)


@rule("ShuffleChannel")
def shuffle_channel(node: Node) -> SSAValue:
    """Channels dealt out from `group` stacks in turn. Source: the ShuffleChannel layer of ShuffleNet."""
    shape, group = node.shape(0), node.message.shuffle_channel_param.group
    if len(shape) < 2 or group < 1 or shape[1] % group:
        raise node.refuse(f"{group} groups of a blob of shape {shape}")
    rest = list(range(3, len(shape) + 1))
    stacks = node.part("stacks", Reshape, node.value(0), shape=(shape[0], group, shape[1] // group, *shape[2:]))
    dealt = node.part("dealt", Transpose, stacks, order=[0, 2, 1, *rest])
    return node.emit(Reshape, dealt, shape=shape)


@rule("Upsample")
def upsample(node: Node) -> SSAValue:
    """Every pixel repeated `scale` times in both directions. Source: the Upsample layer of YOLO's converters."""
    scale, shape = node.message.upsample_param.scale, node.shape(0)
    if len(node.inputs) > 1 or len(shape) != 4 or scale < 1:
        raise node.refuse("only the repetition of pixels by a whole scale is supported")
    scales = [1.0, 1.0, float(scale), float(scale)]
    return node.emit(
        ResizeNearest, node.value(0), shape=(*shape[:2], shape[2] * scale, shape[3] * scale), scales=scales,
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


@rule("Interp")
def interp(node: Node) -> SSAValue:
    """Bilinear resampling that keeps the corner pixels, after a crop. Source: DeepLab InterpLayer."""
    param, shape = node.message.interp_param, node.shape(0)
    if len(shape) != 4 or param.pad_beg > 0 or param.pad_end > 0:
        raise node.refuse(f"pads {param.pad_beg} and {param.pad_end} of a blob of shape {shape}")
    value = node.value(0)
    if param.pad_beg or param.pad_end:
        starts = [0, 0, -param.pad_beg, -param.pad_beg]
        ends = [*shape[:2], *(size + param.pad_end for size in shape[2:])]
        value = node.part("cropped", Slice, value, starts=starts, ends=ends, steps=[1] * 4)
    old = shape_of(value)
    new = (*old[:2], *_interp_size(node, old[2:]))
    scales = [n / o for n, o in zip(new, old, strict=True)]
    return node.emit(Resize, value, shape=new, scales=scales, coordinate_transformation_mode="align_corners")


def _interp_size(node: Node, size: Sequence[int]) -> list[int]:
    """Return height and width: those of the second bottom, or as the parameters say."""
    param = node.message.interp_param
    if len(node.inputs) > 1:
        return list(node.shape(1)[2:])
    if param.HasField("shrink_factor") or param.HasField("zoom_factor"):
        if min(param.shrink_factor, param.zoom_factor) < 1:
            raise node.refuse(f"shrink_factor {param.shrink_factor}, zoom_factor {param.zoom_factor}")
        shrunk = [(n - 1) // param.shrink_factor + 1 for n in size]
        return [n + (n - 1) * (param.zoom_factor - 1) for n in shrunk]
    if min(param.height, param.width) < 1:
        raise node.refuse("says no size")
    return [param.height, param.width]
