"""Rounds weights so that every op gives what it gives in the float network, from what it reads in the integer one."""

from dataclasses import dataclass

from stepdown.correction.reconstruct import reconstruct
from stepdown.correction.walk import Walk
from stepdown.correction.walking import WalkingPass
from stepdown.dialects.op import TensorOp


@dataclass(frozen=True)
class ReconstructWeights(WalkingPass):
    """Choose INT8 weights and biases that keep every op's output, on samples, near the float network's."""

    rounds: int = 1
    """Further solutions in which outputs that both networks clip on the same side count as right."""

    def change(self, walk: Walk, op: TensorOp) -> str:
        """Replace weight and bias."""
        report = reconstruct(walk, op, self.rounds)
        return "" if report is None else str(report)
