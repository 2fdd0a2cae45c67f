"""How much is done for speed, and how tensors lie: levels and layouts. Bytes of integers are the same at all."""

from dataclasses import dataclass

from stepdown.errors import InputError

LEVELS = range(5)
LAYOUTS = ("nhwc", "nchw", "blocked")
NHWC, NCHW, BLOCKED = LAYOUTS
FROM_BLOCKS = range(2, 5)
FROM_FUSIONS = range(3, 5)
"""Levels at which sums are kept in blocks of registers, and at which ops are joined and their code chosen by cost."""


@dataclass(frozen=True)
class Effort:
    """A level and a layout.

    Level 0: loops as they stand in the program, of scalars, one function an op, but those of f16 and bf16, which are in
    vectors and blocks at all levels. 1: vectors. 2: blocks of sums in
    registers, and the processor's dot products. 3: ops joined, and code chosen by rules of cost. 4: schedules that
    were found by measuring on this computer, beside those of the table that comes with Stepdown.
    """

    level: int = 3
    layout: str = NHWC

    @property
    def makes_vectors(self) -> bool:
        """Whether code is made of vectors."""
        return self.level >= 1

    @property
    def blocks_registers(self) -> bool:
        """Whether sums stay in blocks of registers, made by dot products."""
        return self.level in FROM_BLOCKS

    @property
    def fuses(self) -> bool:
        """Whether ops are joined, and their code is chosen by cost."""
        return self.level in FROM_FUSIONS

    @property
    def is_tuned(self) -> bool:
        """Whether schedules come from what was measured, where something was."""
        return self.level >= 4


STANDARD = Effort()


def effort_of(level: int, layout: str = "") -> Effort:
    """Return the effort that options name; without a layout that of the level: nchw at 0, else nhwc.

    Raises:
        InputError: there is no such level or layout, or the layout does not go with the level.
    """
    chosen = layout or (NCHW if level == 0 else NHWC)
    if level not in LEVELS:
        raise InputError(f"there is no level {level}", "--codegen", f"levels are {LEVELS[0]} to {LEVELS[-1]}")
    if chosen not in LAYOUTS:
        raise InputError(f"there is no layout '{layout}'", "--codegen", f"choose one of {', '.join(LAYOUTS)}")
    if chosen == BLOCKED and level < FROM_BLOCKS[0]:
        raise InputError(f"layout {BLOCKED} is of vectors in registers, level {level} has none", "--codegen", "level=2")
    return Effort(level, chosen)
