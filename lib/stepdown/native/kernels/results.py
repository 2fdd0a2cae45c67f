"""What is stored of sums: rescaled integers, in vectors where the processor has instructions for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stepdown.native.kernels.base import Buffers
from stepdown.native.kernels.image import powers
from stepdown.native.kernels.joined import Joined
from stepdown.native.machine import Machine
from stepdown.native.rescaling import Output, Scale
from stepdown.native.tir import Expr, Function, span

STORED = 2
"""Vectors of sums whose results are stored at a time: they are packed together."""


@dataclass(frozen=True)
class Run:
    """Neighbouring sums: where they are, where their results go, and the channel of the first one."""

    source: Expr
    target: Expr
    channel: Expr


def is_vectorised(scale: Scale, machine: Machine) -> bool:
    """Tell whether `store_scaled` has instructions for it."""
    return scale.is_high and machine.has_even_products


def store_scaled(
    f: Function, scale: Scale, output: Output, lanes: int, sums: Any, y: Any, runs: Sequence[Run], width: int,
    constants: Buffers, joined: Joined | None = None,
) -> None:  # fmt: skip
    """Store runs of `width` sums: scaled in vectors of `lanes`, packed all together, then what is joined is made."""
    held, packed = f.local("int32", len(runs) * width), f.local(output.dtype, len(runs) * width)
    for i, run in enumerate(runs):
        for first, count, part in powers(width, lanes):
            for at in range(first, first + count * part, part):
                parts = scale.values(constants, span(run.channel + at, part))
                scaled = scale.apply if part == 1 else partial(scale.apply_vector, lanes=part)
                f.store(held, span(i * width + at, part), scaled(sums[span(run.source + at, part)], parts))
    with f.loop(len(runs) * width, "vector") as lane:
        f.store(packed, lane, output.stored(held[lane]))
    stored = joined_results(f, joined, packed, runs, width, constants) if joined else packed
    for i, run in enumerate(runs):
        f.store(y, span(run.target, width), stored[span(i * width, width)])


def joined_results(f: Function, joined: Joined, made: Any, runs: Sequence[Run], width: int, constants: Buffers) -> Any:
    """Return what a joined op makes of runs of `width` results, which lie in a row."""
    results = f.local(joined.result.dtype, len(runs) * width)
    for i, run in enumerate(runs):
        with f.loop(width, "vector") as lane:
            place = i * width + lane
            f.store(results, place, joined.element(made[place], run.target + lane, constants))
    return results
