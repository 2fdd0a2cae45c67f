"""Places by heuristics: in some order, each in a gap that those before it leave; then other orders at random.

Sizes are in units of the alignment, so that every address is aligned.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from stepdown.npu.addresses.interval import Interval, neighbours, taken

SEED = 7
WORK = 400_000
"""How many pairs of neighbours the random orders may look at: about half a second."""
_ORDERS: tuple[Callable[[Interval], tuple[int, ...]], ...] = (
    lambda each: (-each.size, each.first),
    lambda each: (each.first - each.last, -each.size),
    lambda each: (-each.size * (each.last - each.first + 1), each.first),
    lambda each: (each.first, -each.size),
    lambda each: (-each.last, -each.size),
)
"""Largest first, longest first, largest area first, by time, and by time from the end."""


def place(intervals: Sequence[Interval], bound: int) -> list[int]:
    """Return addresses that take little memory; stops where they take `bound`."""
    near = neighbours(intervals)
    best: list[int] = []
    for addresses in _attempts(intervals, near):
        if not best or taken(intervals, addresses) < taken(intervals, best):
            best = addresses
        if taken(intervals, best) <= bound:
            break
    return best


def _attempts(intervals: Sequence[Interval], near: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the addresses of every fixed order, first fit and best fit, then those of random changes of the best."""
    count = len(intervals)
    orders = [sorted(range(count), key=lambda i, key=key: (key(intervals[i]), i)) for key in _ORDERS]  # type: ignore[misc]
    tried: list[tuple[int, list[int]]] = []
    for order in orders:
        for snug in (False, True):
            addresses = in_order(intervals, near, order, snug)
            tried.append((taken(intervals, addresses), order))
            yield addresses
    yield from _restarts(intervals, near, min(tried, key=lambda each: each[0]))


def _restarts(
    intervals: Sequence[Interval], near: Sequence[Sequence[int]], start: tuple[int, list[int]]
) -> Iterator[list[int]]:
    """Yield the addresses of orders in which a few are moved to the front; goes on from the best so far."""
    chance = random.Random(SEED)
    least, order = start
    pairs = sum(map(len, near)) + len(intervals)
    for _ in range(WORK // max(1, pairs)):
        changed = list(order)
        for _ in range(chance.randint(1, 3)):
            changed.insert(chance.randrange(len(changed)), changed.pop(chance.randrange(len(changed))))
        addresses = in_order(intervals, near, changed, chance.random() < 0.5)
        if taken(intervals, addresses) <= least:
            least, order = taken(intervals, addresses), changed
        yield addresses


def in_order(
    intervals: Sequence[Interval], near: Sequence[Sequence[int]], order: Sequence[int], snug: bool
) -> list[int]:
    """Return addresses chosen one after the other: the lowest gap that is wide enough, or with `snug` the narrowest."""
    addresses = [-1] * len(intervals)
    for at in order:
        held = sorted((addresses[i], addresses[i] + intervals[i].size) for i in near[at] if addresses[i] >= 0)
        addresses[at] = _gap(held, intervals[at].size, snug)
    return addresses


def _gap(held: Sequence[tuple[int, int]], size: int, snug: bool) -> int:
    """Return where `size` fits between the spans `held`, which are sorted, or behind them."""
    free, best, least = 0, -1, 0
    for low, high in held:
        if low - free >= size and (best < 0 or low - free < least):
            best, least = free, low - free
            if not snug:
                return best
        free = max(free, high)
    return free if best < 0 else best
