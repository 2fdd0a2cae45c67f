"""Scales channels up to the widest one of their tensor, before calibration, so that INT8 resolves them all."""

from dataclasses import dataclass

from stepdown.correction.channels import find_groups
from stepdown.correction.equalize import range_candidates
from stepdown.correction.rescale import best_factors, channel_statistics, rescale
from stepdown.correction.sampling import SamplingPass
from stepdown.dialects.program import Program
from stepdown.errors import InputError


@dataclass(frozen=True)
class EqualizeChannels(SamplingPass):
    """Scale narrow channels up, on samples, and the weights that read them down; outputs stay the same.

    Factors are chosen by the error that those found on half of the samples have on the other half; channels that gain
    nothing by them keep theirs. A channel under a ReLU with an upper clip is from then on clipped at `headroom` times
    its largest value on the samples, where that is less (0: chosen with the factors); everything else is the same
    function up to rounding. Tensors that are scaled get new names, `X_equalized`. `rounding` is the share of the error
    of rounded weights that counts against factors: 1 where weights are rounded as they are, 0.1 where
    --reconstruct-weights will take most of it away.
    """

    headroom: float = 0.0
    rounding: float = 1.0

    def run(self, program: Program) -> None:
        """Scale weights and biases; rename the tensors that change.

        Raises:
            InputError: the module is not in float TOP, `rounding` is no share, or the samples do not fit the module.
        """
        self.check_float(program)
        if not 0 <= self.rounding <= 1:
            raise InputError(f"--{self.pass_name()}: rounding is {self.rounding:g}, want a number from 0 to 1")
        samples = self.samples(program)
        groups = find_groups(program)
        seen = channel_statistics(program, groups, samples)
        for group in groups:
            candidates = range_candidates(group, self.headroom)
            rescale(program, group, best_factors(program, group, seen, candidates, self.rounding), "_equalized")
