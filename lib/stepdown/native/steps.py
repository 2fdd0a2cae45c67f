"""What threads do one after the other: the calls of a network in steps, each of them shared or one thread's own.

All threads go through the same list of steps. The work of a shared step is divided, and no thread begins a step before
the one before it is done; calls that are too small for that stand together in a step of one part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepdown.native.calls import Call
from stepdown.native.tir import Expr, Function

_MACS_A_US, _BYTES_A_US = 50_000, 4_000
"""How fast a thread is where it is slow: convolutions with few channels, elements one by one."""
_LEAST_US = 4.0
"""Of work that is shared: twice what sharing costs, 0.5 µs to wait for each other and some 1.5 µs for bytes that come
from the cache of another processor (measured on two processors that do not share one)."""
_GRAIN_US, _MOST_GRAINS = 100.0, 4
"""A thread's share is cut into so long parts, so that a thread that is done takes from one that is late."""
_MOST_ANEW = 0.06
"""Of all work, the share that may be done anew by the parts of a thread, so that there are several."""


@dataclass(frozen=True)
class Step:
    """Calls by number; how many parts their work has (1: it is not shared); into how many a thread's share is cut."""

    calls: tuple[int, ...]
    units: int = 1
    grains: int = 1


def steps_of(
    calls: Sequence[Call], units: Sequence[int], anew: Sequence[float], constant_bytes: Sequence[int]
) -> list[Step]:
    """Return the steps.

    Of each call is given into how many parts its work can be divided, which share of it every part does anew, and what
    its constants take.
    """
    made: list[Step] = []
    for number, (call, count, again, held) in enumerate(zip(calls, units, anew, constant_bytes, strict=True)):
        time_us = cost_us(call, held)
        if count > 1 and time_us >= _LEAST_US:
            most = min(_MOST_GRAINS, int(_MOST_ANEW / again)) if again else _MOST_GRAINS
            made.append(Step((number,), count, max(1, min(most, round(time_us / _GRAIN_US)))))
        elif made and made[-1].units == 1:
            made[-1] = Step((*made[-1].calls, number))
        else:
            made.append(Step((number,)))
    return made


def cost_us(call: Call, constant_bytes: int) -> float:
    """Return about how long a call takes: what it multiplies, and what it reads and writes."""
    moved = sum(place.bytes for place in (*call.inputs, *call.results)) + constant_bytes
    return call.macs / _MACS_A_US + moved / _BYTES_A_US


def dispatch(f: Function, step: Expr, bodies: Sequence[Callable[[], None]], first: int = 0) -> None:
    """Write the choice of the body of a step, by halves."""
    if len(bodies) == 1:
        bodies[0]()
    elif bodies:
        half = len(bodies) // 2
        f.either(
            step < first + half,
            lambda: dispatch(f, step, bodies[:half], first),
            lambda: dispatch(f, step, bodies[half:], first + half),
        )
