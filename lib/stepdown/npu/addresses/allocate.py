"""Places for intervals: heuristics, and where they leave a gap to the live-set bound, the solver."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.npu.addresses.exact import Limits, solve
from stepdown.npu.addresses.heuristics import place
from stepdown.npu.addresses.interval import Interval, aligned, live_set_bound, taken


@dataclass(frozen=True)
class Plan:
    """Addresses, the bytes that they take, the live-set bound, and the bytes below which no choice of places is."""

    addresses: tuple[int, ...]
    bytes: int
    live_set: int
    proved: int

    @property
    def is_optimal(self) -> bool:
        """Tell whether it is proved that nothing takes less."""
        return self.bytes == self.proved


def allocate(intervals: Sequence[Interval], alignment: int = 1, limits: Limits | None = None) -> Plan:
    """Return places for intervals, at multiples of `alignment`; the same ones for the same intervals."""
    unit = math.gcd(*(aligned(each.size, alignment) for each in intervals)) or alignment
    scaled = [Interval(aligned(each.size, alignment) // unit, each.first, each.last) for each in intervals]
    bound = live_set_bound(scaled)
    addresses = place(scaled, bound)
    solved = solve(scaled, bound, taken(scaled, addresses), limits or Limits())
    addresses = min(addresses, solved.addresses or addresses, key=lambda chosen: taken(scaled, chosen))
    found, proved = taken(scaled, addresses) * unit, max(bound, solved.bound) * unit
    return Plan(tuple(address * unit for address in addresses), found, bound * unit, min(found, proved))
