"""Places in global memory: live ranges of a network's tensors, an allocator, and an exact solver for small graphs."""

from stepdown.npu.addresses.allocate import Plan, allocate
from stepdown.npu.addresses.assign import Assignment, assign, noted, write
from stepdown.npu.addresses.exact import Limits
from stepdown.npu.addresses.interval import Interval, live_set_bound, place_problem

__all__ = [
    "Assignment",
    "Interval",
    "Limits",
    "Plan",
    "allocate",
    "assign",
    "live_set_bound",
    "noted",
    "place_problem",
    "write",
]
