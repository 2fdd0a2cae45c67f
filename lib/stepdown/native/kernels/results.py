"""What is stored of sums: rescaled integers, in vectors where the processor has instructions for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stepdown.native.kernels.base import Buffers
from stepdown.native.kernels.image import powers
from stepdown.native.kernels.joined import Joined
from stepdown.native.machine import Machine
from stepdown.native.pairs import packs
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
    """Store runs of `width` sums: scaled and packed; of what is joined, what it makes of that."""
    held = _packed if scale.is_narrow and packs(lanes, output.dtype, width) else _scaled
    made = held(f, scale, output, lanes, sums, runs, width, constants)
    stored = joined_results(f, joined, made, runs, width, constants) if joined else made
    for i, run in enumerate(runs):
        f.store(y, span(run.target, width), stored[span(i * width, width)])


def _packed(
    f: Function, scale: Scale, output: Output, lanes: int, sums: Any, runs: Sequence[Run], width: int,
    constants: Buffers,
) -> Any:  # fmt: skip
    """Return what is stored of the runs, in a row: made of two vectors at a time."""
    made = f.local(output.dtype, len(runs) * width)
    for i, run in enumerate(runs):
        for at in range(0, width, 2 * lanes):
            both = (at, at + lanes)
            parts = [scale.values(constants, span(run.channel + v, lanes)) for v in both]
            words = scale.apply_two([sums[span(run.source + v, lanes)] for v in both], parts)
            f.store(made, span(i * width + at, 2 * lanes), output.packed(words))
    return made


def _scaled(
    f: Function, scale: Scale, output: Output, lanes: int, sums: Any, runs: Sequence[Run], width: int,
    constants: Buffers,
) -> Any:  # fmt: skip
    """Return what is stored of the runs, in a row: each vector scaled, and all packed together."""
    held, made = f.local("int32", len(runs) * width), f.local(output.dtype, len(runs) * width)
    for i, run in enumerate(runs):
        for first, count, part in powers(width, lanes):
            for at in range(first, first + count * part, part):
                parts = scale.values(constants, span(run.channel + at, part))
                scaled = scale.apply if part == 1 else partial(scale.apply_vector, lanes=part)
                f.store(held, span(i * width + at, part), scaled(sums[span(run.source + at, part)], parts))
    with f.loop(len(runs) * width, "vector") as lane:
        f.store(made, lane, output.stored(held[lane]))
    return made


def joined_results(f: Function, joined: Joined, made: Any, runs: Sequence[Run], width: int, constants: Buffers) -> Any:
    """Return what a joined op makes of runs of `width` results, which lie in a row."""
    results = f.local(joined.result.dtype, len(runs) * width)
    for i, run in enumerate(runs):
        with f.loop(width, "vector") as lane:
            place = i * width + lane
            f.store(results, place, joined.element(made[place], run.target + lane, constants))
    return results
