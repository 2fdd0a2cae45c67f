"""Places by a solver: the least memory, or a proved bound on it, of a graph that is small enough.

A mixed-integer program. x[i] is an address, T what all take, and of two that are in use together, b[i, j] tells which
one lies below:

    x[i] + size[i] <= T                          for every i
    x[i] + size[i] <= x[j] + U·b[i, j]           for i, j in use together; U is more than any solution sought takes
    x[j] + size[j] <= x[i] + U·(1 − b[i, j])
    live-set bound <= T <= known − 1

Addresses need not be integers in the program: once it is known which lies below which, the lowest ones are sums of
sizes. A solution turned upside down is one too, so the order of one pair may be chosen. Only something better than what
is known is sought: where there is none, what is known is the optimum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepdown.npu.addresses.interval import Interval, neighbours


@dataclass(frozen=True)
class Limits:
    """Up to how many pairs in use together the solver is asked, and how many nodes of its tree it may look at.

    Nodes, and not seconds: the same network has the same places on every machine.
    """

    pairs: int = 200
    nodes: int = 500


_OPTIONS: dict[str, bool | int | float] = {
    "output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": 0.0, "mip_abs_gap": 0.99,
    "mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9,
}  # fmt: skip
"""T is an integer, so a gap below 1 is none; tolerances times U are to be less than a unit."""


@dataclass(frozen=True)
class Solved:
    """Addresses that take less than what was known, empty where none were found; and a bound that is proved."""

    addresses: list[int]
    bound: int


def solve(intervals: Sequence[Interval], bound: int, known: int, limits: Limits) -> Solved:
    """Return what is better than `known` units, and what no choice of places is below.

    The bound is `known` where nothing better exists.
    """
    pairs = [(i, j) for i, near in enumerate(neighbours(intervals)) for j in near if i < j]
    if bound >= known or len(pairs) > limits.pairs:
        return Solved([], bound)
    values, proved = _run(_program(intervals, pairs, bound, known), limits.nodes, known)
    if values is None:
        return Solved([], max(bound, proved))
    below = {pair: values[len(intervals) + 1 + k] < 0.5 for k, pair in enumerate(pairs)}
    return Solved(_lowest(intervals, pairs, below), max(bound, proved))


Row = tuple[float, list[tuple[int, float]]]
"""A constraint low <= sum of factors × variables: low, and (variable, factor)."""


def _rows(intervals: Sequence[Interval], pairs: Sequence[tuple[int, int]], known: int) -> Iterator[Row]:
    """Yield the constraints; the variables are the addresses, T, and the orders of the pairs."""
    count, large = len(intervals), float(known)
    for i, each in enumerate(intervals):
        yield each.size, [(count, 1.0), (i, -1.0)]
    for k, (i, j) in enumerate(pairs, count + 1):
        yield intervals[i].size, [(j, 1.0), (i, -1.0), (k, large)]
        yield intervals[j].size - large, [(i, 1.0), (j, -1.0), (k, -large)]


def _program(intervals: Sequence[Interval], pairs: Sequence[tuple[int, int]], bound: int, known: int) -> Any:
    """Return the program as the solver takes it."""
    import highspy

    count, rows = len(intervals), list(_rows(intervals, pairs, known))
    lp: Any = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = count + 1 + len(pairs), len(rows)
    lp.col_cost_ = np.array([0.0] * count + [1.0] + [0.0] * len(pairs))
    lp.col_lower_ = np.array([0.0] * count + [float(bound)] + [0.0] * len(pairs))
    fixed = _widest(intervals, pairs) if pairs else None
    orders = [0.0 if pair == fixed else 1.0 for pair in pairs]
    lp.col_upper_ = np.array([known - 1.0 - each.size for each in intervals] + [known - 1.0, *orders])
    lp.row_lower_, lp.row_upper_ = np.array([low for low, _ in rows], float), np.full(len(rows), highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.cumsum([0, *(len(terms) for _, terms in rows)])
    lp.a_matrix_.index_ = np.array([at for _, terms in rows for at, _ in terms])
    lp.a_matrix_.value_ = np.array([factor for _, terms in rows for _, factor in terms])
    kinds = highspy.HighsVarType
    lp.integrality_ = [kinds.kContinuous] * count + [kinds.kInteger] * (1 + len(pairs))
    return lp


def _widest(intervals: Sequence[Interval], pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the pair whose sizes are the largest together: the one whose order is chosen."""
    return max(pairs, key=lambda pair: intervals[pair[0]].size + intervals[pair[1]].size)


def _run(lp: Any, nodes: int, known: int) -> tuple[np.ndarray | None, int]:
    """Return the values of a solution, None where none was found, and the proved bound."""
    import highspy

    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (_OPTIONS | {"mip_max_nodes": nodes}).items():
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return None, known
    info = solver.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    bound = info.mip_dual_bound
    proved = int(np.ceil(bound - 1e-6)) if np.isfinite(bound) else 0
    return (np.array(solver.getSolution().col_value) if found else None), min(proved, known)


def _lowest(
    intervals: Sequence[Interval], pairs: Sequence[tuple[int, int]], below: dict[tuple[int, int], bool]
) -> list[int]:
    """Return the lowest integer addresses under an order of the pairs: the longest path to each."""
    addresses = [0] * len(intervals)
    edges = [(i, j) if below[i, j] else (j, i) for i, j in pairs]
    for _ in intervals:
        for low, high in edges:
            addresses[high] = max(addresses[high], addresses[low] + intervals[low].size)
    return addresses
