"""address-assign: places in global memory by live ranges."""

import sys
from dataclasses import dataclass

from stepdown.dialects.program import Program, State
from stepdown.npu.addresses import assign, write
from stepdown.npu.division import divide
from stepdown.npu.subnets import subnet_kinds
from stepdown.npu.target import npu_of
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class AddressAssign(Pass):
    """Give tensors places in global memory, used again after their last use; prints how much they take.

    chip=X.toml where the chip does not come with Stepdown.
    """

    chip: str = ""

    def run(self, program: Program) -> None:
        """Note `address` on every op (-1 for what never lies in global memory), and `global_bytes` on the module.

        A module without subnets is divided first.

        Raises:
            InputError: the module is not lowered, for another chip, or the ops of a layer group are scattered.
            UnsupportedModel: the chip is no NPU.
            ResourceError: the tensors take more global memory than the chip has.
        """
        chip = npu_of(program, self.chip, (State.TPU_LOWERED, State.TPU_ADDRESSED))
        if not subnet_kinds(program):
            divide(program, chip)
        made = assign(program, chip)
        print(made, file=sys.stderr)
        write(program, made)
        program["state"] = State.TPU_ADDRESSED
