"""The first pass of a chain, and inside canonicalize the first rewrite, after which the outputs leave tolerance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from stepdown.diagnosis.bisect import first_bad
from stepdown.diagnosis.reference import Tensors
from stepdown.diagnosis.relower import duplicate, outputs_of
from stepdown.diagnosis.tolerance import Tolerance, likeness
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.transforms.base import Pass
from stepdown.transforms.canonicalize import Canonicalize, load_patterns
from stepdown.transforms.rewrite import PATTERNS, Pattern, Rewriter


@dataclass(frozen=True)
class BadPass:
    """The pass at `place` of the chain; `rewrite` is the pattern and the tensor of its first wrong rewrite, or ''."""

    place: int
    name: str
    runs: int
    rewrite: str = ""


def first_bad_pass(
    program: Program, passes: Sequence[Pass], sample: Mapping[str, np.ndarray], tolerance: Tolerance
) -> BadPass | None:
    """Return the first pass after which an output of `program` leaves tolerance, None where none does.

    Raises:
        InputError: a pass refuses the program, or loses an output.
    """
    wanted, runs = outputs_of(program, sample), []

    def bad(count: int) -> bool:
        runs.append(count)
        return not _agrees(_after(program, passes[:count]), sample, wanted, tolerance)

    place = first_bad(len(passes), lambda i: bad(i + 1))
    if place == len(passes):
        return None
    rewrite = ""
    if isinstance(passes[place], Canonicalize):
        before = _after(program, passes[:place])
        rewrite = _first_rewrite(before, lambda made: not _agrees(made, sample, wanted, tolerance), runs)
    return BadPass(place, passes[place].pass_name(), len(runs), rewrite)


def _after(program: Program, passes: Sequence[Pass]) -> Program:
    made = duplicate(program)
    for step in passes:
        step.run(made)
    return made


def _agrees(program: Program, sample: Mapping[str, np.ndarray], wanted: Tensors, tolerance: Tolerance) -> bool:
    found = outputs_of(program, sample)
    if lost := sorted(set(wanted) - set(found)):
        raise InputError(f"a pass lost the output '{lost[0]}'", program.path)
    return all(tolerance.holds(name, likeness(found[name], right)) for name, right in wanted.items())


def _first_rewrite(before: Program, bad: Callable[[Program], bool], runs: list[int]) -> str:
    """Return the pattern and the tensor of the first rewrite that makes the program bad."""

    def rewritten(limit: int) -> tuple[Program, list[str]]:
        made = duplicate(before)
        with limited(limit) as applied:
            Canonicalize().run(made)
        return made, applied

    def is_bad(count: int) -> bool:
        runs.append(count)
        return bad(rewritten(count)[0])

    _, applied = rewritten(1 << 62)
    place = first_bad(len(applied), lambda i: is_bad(i + 1))
    return applied[min(place, len(applied) - 1)] if applied else ""


@contextmanager
def limited(limit: int) -> Iterator[list[str]]:
    """Let only the first `limit` rewrites happen inside the block; yields them, `pattern at tensor`, as they come."""
    load_patterns()
    applied: list[str] = []

    def counted(pattern: Pattern) -> Pattern:
        def apply(graph: Rewriter, op: TensorOp) -> bool:
            if len(applied) >= limit:
                return False
            name = op.tensor_name
            changed = pattern(graph, op)
            if changed:
                applied.append(f"{getattr(pattern, '__name__', 'pattern')} at {name}")
            return changed

        return apply

    kept = {name: list(patterns) for name, patterns in PATTERNS.items()}
    try:
        for name, patterns in kept.items():
            PATTERNS[name] = [counted(pattern) for pattern in patterns]
        yield applied
    finally:
        PATTERNS.clear()
        PATTERNS.update(kept)
