"""Ops that the DMA engine does alone, from global to global memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import shape_of
from stepdown.errors import UnsupportedModel
from stepdown.npu.isa import BYTES, Command, Fill, Gather, Move, Tensor, packed
from stepdown.npu.isa.tensor import Four

Places = Sequence[Tensor]
"""Row-major tensors in global memory; only their address and type count."""

Reserve = Callable[[str, Four, np.ndarray | None], Tensor]
"""Returns a new place in global memory for a type and shape, and puts a constant there."""


def is_move(op: TensorOp) -> bool:
    """Tell whether an op is one of these."""
    return op.name.split(".")[1] in (*_MOVES, "ResizeNearest")


def moves(op: TensorOp, sources: Places, targets: Places, reserve: Reserve) -> list[Command]:
    """Return the transfers of an op; `reserve` finds places for what it needs beside.

    Raises:
        UnsupportedModel: it needs more than four dimensions, or another mode.
    """
    name = op.name.split(".")[1]
    if name == "ResizeNearest":
        return _resize(op, sources[0], targets[0], reserve)
    return _MOVES[name](op, sources, targets)


def _viewed(place: Tensor, shape: Sequence[int], op: TensorOp) -> Tensor:
    """Return a row-major tensor under a shape of at most four dimensions."""
    if len(shape) > 4:
        raise UnsupportedModel(f"moves {len(shape)} dimensions", f'{op.name} loc("{op.tensor_name}")')
    return packed(place.type, (1,) * (4 - len(shape)) + tuple(shape), place.address)


def _shape(value: SSAValue) -> tuple[int, ...]:
    return shape_of(value)


def _part(whole: Tensor, axis: int, start: int, size: int) -> Tensor:
    """Return `size` elements of a dimension counted from the back (−1 … −4)."""
    shape = list(whole.shape)
    shape[axis] = size
    moved = whole.address + start * whole.strides[axis]
    return replace(whole, address=moved, shape=(shape[0], shape[1], shape[2], shape[3]))


def _transpose(op: Any, sources: Places, targets: Places) -> list[Command]:
    shape, order = _merged(_shape(op.operands[0]), list(op.order))
    lead = 4 - len(order)
    letters = "".join("nchw"[at] for at in [*range(lead), *(lead + at for at in order)])
    target = _viewed(targets[0], [shape[at] for at in order], op)
    return [Move(source=_viewed(sources[0], shape, op), target=target, order=letters)]


def _merged(shape: Sequence[int], order: list[int]) -> tuple[list[int], list[int]]:
    """Return shape and order with the dimensions that stay side by side taken as one."""
    runs: list[list[int]] = []
    for at in order:
        if runs and runs[-1][-1] + 1 == at:
            runs[-1].append(at)
        else:
            runs.append([at])
    sizes = {run[0]: int(np.prod([shape[at] for at in run])) for run in runs}
    places = {first: number for number, first in enumerate(sorted(sizes))}
    return [sizes[first] for first in sorted(sizes)], [places[run[0]] for run in runs]


def _concat(op: Any, sources: Places, targets: Places) -> list[Command]:
    rank = len(_shape(op.results[0]))
    whole, start, found = _viewed(targets[0], _shape(op.results[0]), op), 0, []
    for value, source in zip(op.operands, sources, strict=True):
        size = _shape(value)[op.axis]
        target = _part(whole, op.axis - rank, start, size)
        found.append(Move(source=_viewed(source, _shape(value), op), target=target))
        start += size
    return list(found)


def _split(op: Any, sources: Places, targets: Places) -> list[Command]:
    rank = len(_shape(op.operands[0]))
    whole, start, found = _viewed(sources[0], _shape(op.operands[0]), op), 0, []
    for size, result, target in zip(op.sizes, op.results, targets, strict=True):
        if size:
            source = _part(whole, op.axis - rank, start, size)
            found.append(Move(source=source, target=_viewed(target, _shape(result), op)))
        start += size
    return list(found)


def _slice(op: Any, sources: Places, targets: Places) -> list[Command]:
    whole, target = _viewed(sources[0], _shape(op.operands[0]), op), _viewed(targets[0], _shape(op.results[0]), op)
    lead = 4 - len(op.starts)
    starts, steps = [0] * lead + list(op.starts), [1] * lead + list(op.steps)
    address = whole.address + sum(start * stride for start, stride in zip(starts, whole.strides, strict=True))
    n, c, h, w = (step * stride for step, stride in zip(steps, whole.strides, strict=True))
    return [Move(source=replace(whole, address=address, shape=target.shape, strides=(n, c, h, w)), target=target)]


def _pad(op: Any, sources: Places, targets: Places) -> list[Command]:
    if op.mode != "constant":
        raise UnsupportedModel("pads by other than a constant", f'{op.name} loc("{op.tensor_name}")')
    source, target = _viewed(sources[0], _shape(op.operands[0]), op), _viewed(targets[0], _shape(op.results[0]), op)
    inner, rank = target, len(op.pads) // 2
    for at, (before, after) in enumerate(zip(op.pads[:rank], op.pads[rank:], strict=True)):
        size = source.shape[at - rank] + min(before, 0) + min(after, 0)
        source = _part(source, at - rank, max(-before, 0), size)
        inner = _part(inner, at - rank, max(before, 0), size)
    return [Fill(target=target, value=_bits(op.value, target.type)), Move(source=source, target=inner)]


def _bits(value: float, type: str) -> int:
    """Return the bits of a stored value."""
    if type in ("f32", "bf16"):
        return int(np.float32(value).view(np.uint32)) >> (16 if type == "bf16" else 0)
    return int(np.float16(value).view(np.uint16)) if type == "f16" else int(value) & ((1 << 8 * BYTES[type]) - 1)


def _expand(op: Any, sources: Places, targets: Places) -> list[Command]:
    source, target = _viewed(sources[0], _shape(op.operands[0]), op), _viewed(targets[0], _shape(op.results[0]), op)
    steps = zip(source.shape, source.strides, target.shape, strict=True)
    n, c, h, w = (0 if size == 1 < wanted else stride for size, stride, wanted in steps)
    return [Move(source=replace(source, shape=target.shape, strides=(n, c, h, w)), target=target)]


def _resize(op: Any, source: Tensor, target: Tensor, reserve: Reserve) -> list[Command]:
    """Pick the nearest elements, one dimension after the other."""
    shape = list(_shape(op.operands[0]))
    axes = op.resized_axes(tuple(shape))
    if op.coordinate_transformation_mode == "tf_crop_and_resize":
        raise UnsupportedModel("crops while it resizes", f'{op.name} loc("{op.tensor_name}")')
    found: list[Command] = []
    for axis in axes:
        rows = op.positions(axis, shape[axis]).astype(np.int32)
        outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        index = reserve("i32", (1, 1, len(rows), 1), rows)
        last = axis == axes[-1]
        made = packed(target.type, (1, outer, len(rows), inner), target.address)
        made = made if last else reserve(target.type, made.shape, None)
        given = packed(source.type, (1, outer, shape[axis], inner), source.address)
        found.append(Gather(source=given, index=index, target=made))
        source, shape[axis] = made, len(rows)
    return found or [Move(source=source, target=target)]


def _reshape(op: Any, sources: Places, targets: Places) -> list[Command]:
    """Copy; what is not a constant has the place of what it repeats, and needs none."""
    return [Move(source=sources[0], target=targets[0])]


_MOVES: dict[str, Callable[[Any, Places, Places], list[Command]]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Expand": _expand,
}
