"""save-weight: accepted where existing scripts give it."""

from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class SaveWeight(Pass):
    """Write the weights beside the output; `-o X.mlir` does so in any case (X_weight.npz)."""

    def run(self, program: Program) -> None:
        """Change nothing: what is written is settled by -o."""
