"""Rounds weights so that every op gives what it gives in the float network, from what it reads in the integer one."""

import sys
from dataclasses import dataclass
from typing import ClassVar

from stepdown.correction.reconstruct import reconstruct
from stepdown.correction.samples import open_samples
from stepdown.correction.walk import Walk
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program, State
from stepdown.errors import InputError
from stepdown.transforms.base import Pass
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu


@dataclass(frozen=True)
class ReconstructWeights(Pass):
    """Choose INT8 weights and biases that keep every op's output, on samples, near the float network's."""

    dataset: str = ""
    data_list: str = ""
    input_num: int = 0
    seed: int = 0
    chip: str = ""
    asymmetric: bool = False
    rounds: int = 2

    required: ClassVar[tuple[str, ...]] = ("chip",)

    def run(self, program: Program) -> None:
        """Replace the weights of convolutions and matrix products by integers with scales, and their biases.

        Raises:
            InputError: the module is not calibrated, or the samples do not fit it.
        """
        if program["state"] != State.TOP_CALIBRATED:
            fix = "put --import-calibration-table='file=… asymmetric=…' before it"
            raise InputError(f"--{self.pass_name()} needs a calibrated module", program.path, fix)
        samples = open_samples(program, self.dataset, self.data_list, self.input_num, self.seed)
        lowering = ConvertTopToTpu("INT8", self.chip, self.asymmetric)
        Walk(program, lowering, samples).run(self._visit)

    def _visit(self, walk: Walk, op: TensorOp) -> None:
        report = reconstruct(walk, op, self.rounds)
        if report is not None:
            print(f"{op.tensor_name}: {report}", file=sys.stderr)
