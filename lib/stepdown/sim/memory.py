"""Global and local memory, and how tensors lie in them."""

from dataclasses import dataclass

import numpy as np

from stepdown.errors import InputError
from stepdown.npu.cost import LocalMemory, span
from stepdown.npu.isa import Tensor
from stepdown.numerics.floats import bf16_bits, from_bf16_bits

MAX_REPEATED_BYTES = 1 << 26
"""How large a tensor that repeats elements may be where that is more than its memory holds."""
_PITCH = 192
"""Bytes between the lanes of a host's array: lanes a power of two apart would share the sets of its caches."""
_STORED = {
    "i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16, "i32": np.int32, "f16": np.float16,
    "bf16": np.uint16, "f32": np.float32,
}  # fmt: skip
_RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@dataclass(frozen=True)
class Bounds:
    """How far the memories of a machine reach."""

    local: LocalMemory
    global_bytes: int

    def check(self, tensor: Tensor, name: str) -> None:
        """Check that a tensor lies within its memory.

        Raises:
            InputError: it does not; names its bytes.
        """
        lanes, size = self.local.lanes, self.local.lane_bytes
        whole = max(lanes * size, MAX_REPEATED_BYTES)
        if tensor.space == "global":
            size = self.global_bytes
            whole = max(size, MAX_REPEATED_BYTES)
        elif tensor.lane >= lanes:
            raise InputError(f"{name} starts in lane {tensor.lane}; there are {lanes}")
        low, high = span(tensor, lanes)
        if low < 0 or high > size:
            raise InputError(f"{name} reaches from byte {low} to {high}; {tensor.space} memory has {size}")
        if tensor.elements * tensor.element_bytes > whole:
            raise InputError(f"{name} has {tensor.elements} elements, more than any memory holds")


class Memory:
    """Both memories of a machine. f16 and bf16 are handed out and taken as float32 values that they can represent."""

    def __init__(self, local: LocalMemory, global_bytes: int, poison: int | None = None) -> None:
        self.local = local
        self.global_memory = np.zeros(global_bytes, np.uint8)
        self._pitch = -(-local.lane_bytes // _PITCH) * _PITCH + _PITCH
        self._lanes = np.zeros(local.lanes * self._pitch, np.uint8)
        if poison is not None:
            random = np.random.default_rng(poison)
            self.global_memory[:] = random.integers(0, 256, self.global_memory.shape, np.uint8)
            self._lanes[:] = random.integers(0, 256, self._lanes.shape, np.uint8)

    def read(self, tensor: Tensor) -> np.ndarray:
        """Return the values [n, c, h, w] of a tensor; what follows must not write to them."""
        stored = self._read(tensor, _STORED[tensor.type])
        if tensor.type == "bf16":
            return from_bf16_bits(stored)
        return stored.astype(np.float32) if tensor.type == "f16" else stored

    def read_bits(self, tensor: Tensor) -> np.ndarray:
        """Return the bits [n, c, h, w] of a tensor as unsigned integers."""
        return self._read(tensor, _RAW[tensor.element_bytes])

    def write(self, tensor: Tensor, values: np.ndarray) -> None:
        """Store values [n, c, h, w], or what broadcasts to that; they are in the type of the tensor already."""
        self._write(tensor, _STORED[tensor.type], bf16_bits(values) if tensor.type == "bf16" else values)

    def write_bits(self, tensor: Tensor, bits: np.ndarray) -> None:
        """Store the bits of a tensor."""
        self._write(tensor, _RAW[tensor.element_bytes], bits)

    def _read(self, tensor: Tensor, dtype: type) -> np.ndarray:
        if tensor.space == "global":
            return self._in_global(tensor, dtype)
        view, (n, c, h, w) = self._in_lanes(tensor, dtype), tensor.shape
        if view.shape[1] == 1:
            return view[:, 0, tensor.lane : tensor.lane + c]
        return view.reshape(n, -1, h, w)[:, tensor.lane : tensor.lane + c]

    def _write(self, tensor: Tensor, dtype: type, values: np.ndarray) -> None:
        if tensor.space == "global":
            self._in_global(tensor, dtype)[...] = values
            return
        view, lanes = self._in_lanes(tensor, dtype), self.local.lanes
        values = np.broadcast_to(values, tensor.shape)
        start, stop = tensor.lane, tensor.lane + tensor.shape[1]
        for group in range(view.shape[1]):
            low, high = max(start, group * lanes), min(stop, (group + 1) * lanes)
            view[:, group, low - group * lanes : high - group * lanes] = values[:, low - start : high - start]

    def _in_global(self, tensor: Tensor, dtype: type) -> np.ndarray:
        return np.ndarray(tensor.shape, dtype, self.global_memory, tensor.address, tensor.strides)

    def _in_lanes(self, tensor: Tensor, dtype: type) -> np.ndarray:
        """Return the view [n, groups, lanes, h, w] of what holds a tensor and maybe channels around it."""
        n, c, h, w = tensor.shape
        groups = -(-(tensor.lane + c) // self.local.lanes)
        steps = (tensor.strides[0], tensor.strides[1], self._pitch, tensor.strides[2], tensor.strides[3])
        return np.ndarray((n, groups, self.local.lanes, h, w), dtype, self._lanes, tensor.address, steps)
