"""Where the tensors of a model file lie in the memories of a machine: read from there, and put there."""

import math
from collections.abc import Sequence

import numpy as np

from stepdown.model import Region, Tensor
from stepdown.model.arrays import STORED
from stepdown.model.schema import GLOBAL, LANES, LOCAL
from stepdown.npu.cost import LocalMemory
from stepdown.npu.isa import BYTES
from stepdown.npu.isa import Tensor as Place
from stepdown.sim.memory import Memory

_RAW = {1: "u8", 2: "u16", 4: "i32"}


def content(memory: Memory, region: Region, tensor: Tensor) -> np.ndarray:
    """Return what a region holds of a tensor now, as it is stored (bf16 as its bits); not to be written."""
    if region.memory == GLOBAL:
        return in_global(memory, region, tensor)
    axis, lane = _axis_and_lane(region)
    shape = region.shape or tensor.shape
    strides = region.strides or _packed(region, shape, tensor, memory.local.lanes)
    kind = _RAW[STORED[tensor.type].itemsize]
    bits = _in_lanes(memory, (kind, lane, region.address), shape, strides, axis)
    return np.ascontiguousarray(bits).view(STORED[tensor.type]).reshape(shape)


def in_global(memory: Memory, region: Region, tensor: Tensor) -> np.ndarray:
    """Return the part of global memory that is a region, as an array in the stored type that may be written."""
    shape, dtype = region.shape or tensor.shape, STORED[tensor.type]
    strides = region.strides or _row_major(shape, dtype.itemsize)
    return np.ndarray(shape, dtype, memory.global_memory.data, region.address, strides)


def region_problem(region: Region, tensor: Tensor, local: LocalMemory) -> str:
    """Return why a region cannot be read as what it says it has of a tensor, empty where it can."""
    shape, lanes = list(region.shape or tensor.shape), 1
    if region.memory == LOCAL:
        if tensor.type not in BYTES:
            return f"has the type {tensor.type}, which local memory has not"
        axis, lane = _axis_and_lane(region)
        if not (0 <= axis < len(shape) and 0 <= lane < local.lanes):
            return f"has the unknown layout '{region.layout[:40]}'"
        if region.address + region.bytes > local.lane_bytes:
            return f"ends at {region.address + region.bytes}, and a lane at {local.lane_bytes}"
        lanes, shape[axis] = local.lanes, -(-(lane + shape[axis]) // local.lanes)
    elif region.memory != GLOBAL or region.layout:
        return f"lies in the unknown memory '{region.memory[:40]}', layout '{region.layout[:40]}'"
    strides = region.strides or _packed(region, region.shape or tensor.shape, tensor, lanes)
    return _reach_problem(shape, strides, STORED[tensor.type].itemsize, region.bytes)


def _reach_problem(shape: Sequence[int], strides: Sequence[int], size: int, held: int) -> str:
    if any(stride < 0 or stride % size for stride in strides):
        return f"has the strides {tuple(strides)[:8]} for elements of {size} bytes"
    reach = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + size
    return f"needs {reach} bytes and has {held}" if 0 not in shape and reach > held else ""


def _axis_and_lane(region: Region) -> tuple[int, int]:
    """Return which dimension is spread over the lanes, and the lane of its first element; (−1, 0) where none is."""
    words = region.layout.split(" ")
    if words[0] != LANES or not all(word.isdecimal() and len(word) < 6 for word in words[1:]):
        return -1, 0
    numbers = [int(word) for word in words[1:]]
    return (numbers[0], sum(numbers[1:])) if len(numbers) in (1, 2) else (-1, 0)


def _packed(region: Region, shape: Sequence[int], tensor: Tensor, lanes: int) -> tuple[int, ...]:
    """Return the strides of a part without gaps: row-major, in local memory within each lane."""
    sizes = list(shape)
    if region.memory == LOCAL:
        axis, lane = _axis_and_lane(region)
        sizes[axis] = -(-(lane + sizes[axis]) // lanes)
    return _row_major(sizes, STORED[tensor.type].itemsize)


def _row_major(shape: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(size * math.prod(shape[at + 1 :]) for at in range(len(shape)))


def _in_lanes(
    memory: Memory, start: tuple[str, int, int], shape: Sequence[int], strides: Sequence[int], axis: int
) -> np.ndarray:
    """Return the bits of what lies from `start` (type, lane, address), dimension `axis` spread over the lanes."""
    others = [at for at in range(len(shape)) if at != axis]
    if len(others) > 3:  # a machine's tensors have n, h and w beside the lanes
        at, (kind, lane, address) = others[0], start
        rest = [at for at in range(len(shape)) if at != others[0]]
        sizes, steps = [shape[i] for i in rest], [strides[i] for i in rest]
        parts = [
            _in_lanes(memory, (kind, lane, address + i * strides[at]), sizes, steps, rest.index(axis))
            for i in range(shape[at])
        ]
        return np.stack(parts, at)
    n, h, w = ([1, 1, 1] + [shape[at] for at in others])[-3:]
    by_n, by_h, by_w = ([0, 0, 0] + [strides[at] for at in others])[-3:]
    kind, lane, address = start
    place = Place(
        space="local", type=kind, lane=lane, address=address, shape=(n, shape[axis], h, w),
        strides=(by_n, strides[axis], by_h, by_w),
    )  # fmt: skip
    found = memory.read_bits(place).transpose(1, 0, 2, 3)
    return np.moveaxis(found.reshape(shape[axis], *(shape[at] for at in others)), 0, axis)
