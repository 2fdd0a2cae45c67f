"""Makes the mean of every output channel what it is in the float network, by the bias alone."""

from dataclasses import dataclass

from stepdown.correction.reconstruct import correct_bias
from stepdown.correction.walk import Walk
from stepdown.correction.walking import WalkingPass
from stepdown.dialects.op import TensorOp


@dataclass(frozen=True)
class CorrectBias(WalkingPass):
    """Correct the biases of convolutions and matrix products by the mean errors of INT8 on samples."""

    def change(self, walk: Walk, op: TensorOp) -> str:
        """Replace the bias."""
        largest = correct_bias(walk, op)
        return "" if largest is None else f"bias by up to {largest:.2f} steps of the result"
