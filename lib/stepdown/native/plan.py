"""Where tensors lie in one arena: those that are never alive at the same time may share bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepdown.npu.addresses.allocate import allocate
from stepdown.npu.addresses.interval import Interval as Life
from stepdown.npu.addresses.interval import aligned

__all__ = ["ALIGNMENT", "Life", "aligned", "arena", "in_a_row"]

ALIGNMENT = 64
"""Of every tensor: a cache line, and the widest vector."""


def arena(lives: Mapping[Any, Life], alignment: int = ALIGNMENT) -> tuple[dict[Any, int], int]:
    """Return the offset of each, and the size of the arena: as small as can be, where that is found in little time."""
    plan = allocate(list(lives.values()), alignment)
    return dict(zip(lives, plan.addresses, strict=True)), plan.bytes


def in_a_row(sizes: Sequence[int], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Return the offsets of things that lie one after the other, and where the last one ends."""
    offsets, free = [], 0
    for size in sizes:
        offsets.append(free)
        free = aligned(free + size, alignment)
    return offsets, free
