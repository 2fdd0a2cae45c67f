"""What lies in a memory for some time; which of it is there together, and what is wrong with a choice of places."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """Something of `size` bytes that is in use from the step `first` through the step `last`."""

    size: int
    first: int
    last: int

    def meets(self, other: "Interval") -> bool:
        """Tell whether both are in use in a common step."""
        return self.first <= other.last and other.first <= self.last


def aligned(size: int, alignment: int) -> int:
    """Return a size rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def live_set_bound(intervals: Sequence[Interval], alignment: int = 1) -> int:
    """Return the bytes that are in use together in the fullest step: no choice of places takes less.

    Every place begins at a multiple of `alignment`, so each takes its size rounded up.
    """
    changes: dict[int, int] = {}
    for each in intervals:
        changes[each.first] = changes.get(each.first, 0) + aligned(each.size, alignment)
        changes[each.last + 1] = changes.get(each.last + 1, 0) - aligned(each.size, alignment)
    most = live = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most


def neighbours(intervals: Sequence[Interval]) -> list[list[int]]:
    """Return for each interval the numbers of the others that are in use together with it; empty ones meet none."""
    found: list[list[int]] = [[] for _ in intervals]
    active: list[int] = []
    for at in sorted((i for i, each in enumerate(intervals) if each.size), key=lambda i: intervals[i].first):
        active = [other for other in active if intervals[other].last >= intervals[at].first]
        for other in active:
            found[at].append(other)
            found[other].append(at)
        active.append(at)
    return found


def taken(intervals: Sequence[Interval], addresses: Sequence[int], alignment: int = 1) -> int:
    """Return the bytes from address 0 to the end of the highest place, rounded up."""
    ends = (address + aligned(each.size, alignment) for each, address in zip(intervals, addresses, strict=True))
    return max(ends, default=0)


@dataclass(frozen=True)
class Problem:
    """What is wrong with places: the numbers of those that it is about."""

    what: str
    numbers: tuple[int, ...]

    def told(self, names: Sequence[str]) -> str:
        """Return it in words, with the names of the places."""
        return f"{' and '.join(names[at] for at in self.numbers)} {self.what}"


def place_problem(intervals: Sequence[Interval], addresses: Sequence[int], alignment: int = 1) -> Problem | None:
    """Return a misaligned place, or two that are in use together and have a common byte; None where all is well.

    It looks at every pair of intervals, as the heuristics do not: it is there to find their mistakes.
    """
    for at, (each, address) in enumerate(zip(intervals, addresses, strict=True)):
        if address < 0 or address % alignment:
            return Problem(f"lies at {address}, want a multiple of {alignment}", (at,))
        for other in range(at):
            low, high = addresses[other], addresses[other] + intervals[other].size
            if each.meets(intervals[other]) and max(low, address) < min(high, address + each.size):
                return Problem("overlap while both are in use", (other, at))
    return None
