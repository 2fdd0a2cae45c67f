"""Places in a lane of local memory, in address and time."""

from collections.abc import Sequence

import numpy as np


class Packing:
    """Boxes in the plane of addresses and times: [low, high) × first … last.

    With `bank_bytes` a new box keeps away from the banks of its partners where it can.
    """

    def __init__(self, capacity: int, bank_bytes: int = 0) -> None:
        self._capacity, self._bank = capacity, bank_bytes
        self._boxes = np.zeros((0, 4), np.int64)

    def add(self, low: int, size: int, first: int, last: int) -> int:
        """Take a place; returns its number."""
        self._boxes = np.vstack([self._boxes, [low, low + size, first, last]])
        return len(self._boxes) - 1

    def fixed(self, size: int, first: int, last: int, partners: Sequence[int] = ()) -> int | None:
        """Return the best address that is free all the time, None where there is none."""
        at = self._candidates(size)
        busy = (self._boxes[:, 2] <= last) & (self._boxes[:, 3] >= first)
        at = at[~self._meeting(at, size)[:, busy].any(axis=1)]
        if not len(at):
            return None
        return int(at[np.lexsort((at, self._clashes(at, size, partners)))[0]])

    def earliest(
        self, size: int, least: int, use: int, last: int, partners: Sequence[int] = ()
    ) -> tuple[int, int] | None:
        """Return an address and the first time, not before `least`, from which it is free up to `last`.

        It must be free from `use` on. None where no place is.
        """
        at = self._candidates(size)
        meeting = self._meeting(at, size)
        busy = (self._boxes[:, 2] <= last) & (self._boxes[:, 3] >= use)
        free = ~meeting[:, busy].any(axis=1)
        at, meeting = at[free], meeting[free]
        if not len(at):
            return None
        ended = np.where(meeting & (self._boxes[:, 3] < use)[None, :], self._boxes[None, :, 3] + 1, 0)
        start = np.maximum(ended.max(axis=1, initial=0), least)
        best = np.lexsort((-at, self._clashes(at, size, partners), start))[0]
        return int(at[best]), int(start[best])

    def _candidates(self, size: int) -> np.ndarray:
        """Return addresses at which something may begin: beside the others, at the ends, at banks."""
        banks = np.arange(0, self._capacity, self._bank) if self._bank else np.zeros(1, np.int64)
        beside = (self._boxes[:, 1], self._boxes[:, 0] - size)
        found = np.unique(np.concatenate([*beside, banks, [self._capacity - size]]).astype(np.int64))
        return found[(found >= 0) & (found + size <= self._capacity)]

    def _meeting(self, at: np.ndarray, size: int) -> np.ndarray:
        """Tell of each candidate and box whether their addresses meet."""
        return (at[:, None] < self._boxes[None, :, 1]) & (self._boxes[None, :, 0] < at[:, None] + size)

    def _clashes(self, at: np.ndarray, size: int, partners: Sequence[int]) -> np.ndarray:
        """Count for each candidate the partners with which it shares a bank."""
        if not self._bank or not partners:
            return np.zeros(len(at), np.int64)
        mine = at[:, None] // self._bank, (at[:, None] + size - 1) // self._bank
        others = self._boxes[list(partners)]
        first, last = others[None, :, 0] // self._bank, (others[None, :, 1] - 1) // self._bank
        return ((mine[0] <= last) & (first <= mine[1])).sum(axis=1)
