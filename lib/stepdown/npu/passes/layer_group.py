"""layer-group: which ops stay in local memory together, and in which tiles."""

from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.npu.groups.notes import check_notes, note_groups
from stepdown.npu.target import npu_of
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class LayerGroup(Pass):
    """Choose the groups of ops, and their tiles, that take the fewest cycles; longest=1 leaves every op alone."""

    chip: str = ""
    longest: int = 256

    def run(self, program: Program) -> None:
        """Note on every op that gets commands its group and how that is cut.

        Raises:
            InputError: the module is not lowered, has its addresses already, or is for another chip.
            UnsupportedModel: the chip is no NPU.
            ResourceError: an op alone does not fit local memory.
        """
        note_groups(program, npu_of(program, self.chip), max(1, self.longest))
        check_notes(program)
