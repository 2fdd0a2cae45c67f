"""What the passes that walk the calibrated program beside its lowering have in common."""

import sys
from dataclasses import dataclass
from typing import ClassVar

from stepdown.correction.sampling import SamplingPass
from stepdown.correction.walk import Walk
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu


@dataclass(frozen=True)
class WalkingPass(SamplingPass):
    """A pass that changes one op after the other; chip, symmetry and qtable are those of the lowering that follows."""

    chip: str = ""
    asymmetric: bool = False
    qtable: str = ""

    required: ClassVar[tuple[str, ...]] = ("chip",)

    def run(self, program: Program) -> None:
        """Change the ops of `program`, each after all that it reads.

        Raises:
            InputError: the module is not calibrated, or the samples do not fit it.
        """
        if program["state"] != State.TOP_CALIBRATED:
            fix = "put --import-calibration-table='file=… asymmetric=…' before it"
            raise InputError(f"--{self.pass_name()} needs a calibrated module", program.path, fix)
        samples = self.samples(program)
        Walk(program, ConvertTopToTpu("INT8", self.chip, self.asymmetric, self.qtable), samples).run(self._visit)

    def _visit(self, walk: Walk, op: TensorOp) -> None:
        if told := self.change(walk, op):
            print(f"{op.tensor_name}: {told}", file=sys.stderr)

    def change(self, walk: Walk, op: TensorOp) -> str:
        """Change the constants of one op; return what to tell of it, '' where nothing was done."""
        raise NotImplementedError
