"""Loops over all elements of a result, whatever the orders in which it and its operands lie."""

from collections.abc import Callable, Sequence

from stepdown.native.kernels.image import along
from stepdown.native.tir import Expr, Function


def merged(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Return the loops that go over the same places: dimensions of one element dropped, neighbours joined.

    `sizes[D]` are in the order of the loops, `strides[T][D]` are those of each tensor.
    """
    joined: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for at, size in enumerate(sizes):
        if size == 1:
            continue
        if joined and all(step[-1] == each[at] * size for step, each in zip(steps, strides, strict=True)):
            joined[-1] *= size
            for step, each in zip(steps, strides, strict=True):
                step[-1] = each[at]
            continue
        joined.append(size)
        for step, each in zip(steps, strides, strict=True):
            step.append(each[at])
    return joined, steps


def spread(
    f: Function, sizes: Sequence[int], strides: Sequence[Sequence[int]], lanes: int,
    body: Callable[[list[Expr]], None], shared: bool = True,
) -> None:  # fmt: skip
    """Write `body(indices)` for every place, with the index of each tensor there; the last loop is in vectors.

    Threads share the work unless a loop around it is shared.
    """
    joined, steps = merged(sizes, strides)
    _loops(f, joined, steps, [0] * len(strides), lanes, body, shared_one(joined) if shared else -1)


_FEW = 8


def shared_one(sizes: Sequence[int]) -> int:
    """Return which of nested loops threads share: the first that has rounds for several, else the longest; −1: none."""
    many = (at for at, size in enumerate(sizes) if size >= _FEW)
    return next(many, max(range(len(sizes)), key=sizes.__getitem__, default=-1))


def _loops(
    f: Function, sizes: list[int], steps: list[list[int]], at: list[Expr], lanes: int,
    body: Callable[[list[Expr]], None], shared: int,
) -> None:  # fmt: skip
    if not sizes:
        body(at)
        return
    own, rest = [step[0] for step in steps], [step[1:] for step in steps]

    def inside(i: Expr) -> None:
        _loops(f, sizes[1:], rest, [a + i * s for a, s in zip(at, own, strict=True)], lanes, body, shared - 1)

    if len(sizes) == 1:
        along(f, sizes[0], lanes, inside, shared == 0)
        return
    with f.shared(sizes[0]) if shared == 0 else f.loop(sizes[0]) as i:
        inside(i)
