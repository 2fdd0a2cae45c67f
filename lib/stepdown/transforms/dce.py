"""dce: dead code elimination."""

from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.transforms.base import Pass
from stepdown.transforms.rewrite import drop_unused


@dataclass(frozen=True)
class Dce(Pass):
    """Drop ops and weights that no output needs; inputs stay."""

    def run(self, program: Program) -> None:
        """Drop them and verify the result."""
        drop_unused(program)
        verify(program.module, program.path)
