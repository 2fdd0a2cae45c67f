"""Accesses of two engines to the same bytes that nothing puts in order.

Of two commands on different engines one is before the other where a chain of waits says so. Every command knows how
many commands of each engine have ended before it starts: those that its predecessor knew, those that it waits for, and
what these knew (vector clocks; Mattern 1989). Two commands of which neither knows the other run in any order; where
they touch a common byte and one of them writes, the result depends on the times.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from stepdown.errors import InputError
from stepdown.npu.cost import span
from stepdown.npu.isa import ENGINES, Command, Tensor
from stepdown.npu.isa.code import place
from stepdown.sim.overlap import overlap


@dataclass(frozen=True)
class _Accesses:
    """All accesses of an engine in the order of its commands: access k belongs to command `owner[k]`."""

    tensors: Sequence[tuple[str, Tensor, bool]]
    owner: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_global: np.ndarray
    writes: np.ndarray


Commands = Mapping[str, Sequence[Command]]


def check_hazards(
    commands: Commands, parts: Sequence[Mapping[str, int]], steps: Sequence[tuple[str, int]], lanes: int
) -> None:
    """Check that every two accesses of which one writes are in order.

    `steps` are all commands in an order that the waits allow; after each of `parts` all engines have met.

    Raises:
        InputError: two are not; names both commands and tensors.
    """
    known = _known(commands, parts, steps)
    accesses = {engine: _accesses(each, lanes) for engine, each in commands.items()}
    for left, right in combinations(commands, 2):
        for first, second in _suspects(left, right, known, accesses):
            a, b = accesses[left].tensors[first], accesses[right].tensors[second]
            if overlap(a[1], b[1], lanes):
                at = int(accesses[left].owner[first]), int(accesses[right].owner[second])
                raise _hazard(commands, (left, right), at, a, b)


def _known(
    commands: Commands, parts: Sequence[Mapping[str, int]], steps: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Return by engine, for each of its commands, how many commands of each engine have ended when it starts."""
    known = {engine: np.zeros((len(each), len(ENGINES)), np.int64) for engine, each in commands.items()}
    for part, engine in product(parts, commands):
        known[engine][part[engine] : part[engine] + 1] = [part.get(other, 0) for other in ENGINES]
    for engine, index in steps:
        clock = known[engine][index]
        if index:
            np.maximum(clock, known[engine][index - 1], out=clock)
        for other, count in zip(ENGINES, commands[engine][index].wait, strict=True):
            if count:
                np.maximum(clock, known[other][count - 1], out=clock)
                at = ENGINES.index(other)
                clock[at] = max(clock[at], count)
        clock[ENGINES.index(engine)] = index
    return known


def _accesses(commands: Sequence[Command], lanes: int) -> _Accesses:
    rows = [
        (index, name, tensor, writes)
        for index, command in enumerate(commands)
        for writes, tensors in ((False, command.reads()), (True, command.writes()))
        for name, tensor in tensors.items()
    ]
    spans = np.array([span(tensor, lanes) for _, _, tensor, _ in rows], np.int64).reshape(-1, 2)
    return _Accesses(
        [(name, tensor, writes) for _, name, tensor, writes in rows],
        np.array([index for index, *_ in rows], np.int64),
        spans[:, 0],
        spans[:, 1],
        np.array([tensor.space == "global" for _, _, tensor, _ in rows], np.bool_),
        np.array([writes for *_, writes in rows], np.bool_),
    )


def _suspects(
    left: str, right: str, known: Mapping[str, np.ndarray], accesses: Mapping[str, _Accesses]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of accesses by commands in no order, whose spans meet and of which one writes."""
    one, two = accesses[left], accesses[right]
    to_left, to_right = known[right][:, ENGINES.index(left)], known[left][:, ENGINES.index(right)]
    for at, index in enumerate(two.owner):
        # Of the left engine, the commands before `begin` are known to this one; those from `end` on know it.
        begin, end = to_left[index], np.searchsorted(to_right, index, side="right")
        near = slice(*np.searchsorted(one.owner, (begin, end)))
        meet = (one.low[near] < two.high[at]) & (two.low[at] < one.high[near])
        meet &= (one.is_global[near] == two.is_global[at]) & (one.writes[near] | two.writes[at])
        yield from ((int(near.start + k), at) for k in np.flatnonzero(meet))


def _hazard(
    commands: Commands,
    engines: tuple[str, str],
    at: tuple[int, int],
    a: tuple[str, Tensor, bool],
    b: tuple[str, Tensor, bool],
) -> InputError:
    first, second = (place(commands[e][i], i, e) for e, i in zip(engines, at, strict=True))
    does, other = ("writes" if each[2] else "reads" for each in (a, b))
    what = f"{does} its {a[0]} at {a[1].address:#x} in {a[1].space} memory while {second} {other} its {b[0]} there"
    return InputError(f"{what}: nothing puts the two in order", first, "one must wait for the other")
