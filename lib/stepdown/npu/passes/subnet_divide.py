"""subnet-divide: what the engines cannot do runs on the host."""

import sys
from collections import Counter
from dataclasses import dataclass

from stepdown.dialects.program import Program
from stepdown.dialects.tpu import TpuOp
from stepdown.errors import InputError
from stepdown.model.schema import HOST
from stepdown.npu.division import divide
from stepdown.npu.subnets import parts_of
from stepdown.npu.target import npu_of
from stepdown.transforms.base import Pass


@dataclass(frozen=True)
class SubnetDivide(Pass):
    """Let the host run what the chip has no commands for, in as few subnets as possible; prints what that is.

    chip=X.toml where the chip does not come with Stepdown.
    """

    chip: str = ""

    def run(self, program: Program) -> None:
        """Give every op its subnet, and put the ops in the order of subnets.

        Raises:
            InputError: the module is not lowered, has its groups already, or is for another chip.
            UnsupportedModel: the chip is no NPU.
        """
        if any(op.note("layer_group") is not None for op in program.ops if isinstance(op, TpuOp)):
            raise InputError("has its layer groups already", program.path, "give --subnet-divide before --layer-group")
        divide(program, npu_of(program, self.chip))
        print(_summary(program), file=sys.stderr)


def _summary(program: Program) -> str:
    """Return how many subnets there are, and what the host runs."""
    parts = parts_of(program)
    on_host = Counter(op.name.partition(".")[2] for part in parts if part.kind == HOST for op in part.ops)
    told = f"{len(parts)} subnet{'s' * (len(parts) != 1)}; the host runs {on_host.total()} of"
    listed = ", ".join(f"{count} {name}" for name, count in on_host.most_common())
    return f"{told} {sum(len(part.ops) for part in parts)} ops" + (f": {listed}" if listed else "")
