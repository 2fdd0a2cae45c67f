"""subnet-divide: what the engines cannot do runs on the host."""

from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.npu.division import divide
from stepdown.npu.target import npu_of
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class SubnetDivide(Pass):
    """Let the host run what the chip has no commands for, in as few subnets as possible."""

    chip: str = ""

    def run(self, program: Program) -> None:
        """Give every op its subnet, and put the ops in the order of subnets.

        Raises:
            InputError: the module is not lowered, or for another chip.
            UnsupportedModel: the chip is no NPU.
        """
        divide(program, npu_of(program, self.chip))
