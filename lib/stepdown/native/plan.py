"""Where tensors lie in one arena: those that are never alive at the same time may share bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALIGNMENT = 64
"""Of every tensor: a cache line, and the widest vector."""


@dataclass(frozen=True)
class Life:
    """How many bytes something takes, from which step to which."""

    size: int
    first: int
    last: int

    def meets(self, other: "Life") -> bool:
        """Tell whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


def arena(lives: Mapping[Any, Life], alignment: int = ALIGNMENT) -> tuple[dict[Any, int], int]:
    """Return the offset of each, and the size of the arena: the largest go first, each to the lowest free place."""
    placed: dict[Any, int] = {}
    for name in sorted(lives, key=lambda n: (-lives[n].size, lives[n].first)):
        taken = sorted((placed[n], placed[n] + lives[n].size) for n in placed if lives[n].meets(lives[name]))
        placed[name] = _gap(taken, lives[name].size, alignment)
    end = max((placed[n] + lives[n].size for n in placed), default=0)
    return placed, _up(end, alignment)


def in_a_row(sizes: Sequence[int], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Return the offsets of things that lie one after the other, and where the last one ends."""
    offsets, free = [], 0
    for size in sizes:
        offsets.append(free)
        free = _up(free + size, alignment)
    return offsets, free


def _gap(taken: list[tuple[int, int]], size: int, alignment: int) -> int:
    at = 0
    for start, end in taken:
        if at + size <= start:
            return at
        at = max(at, _up(end, alignment))
    return at


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
