"""Moves the difficulty of activations into weights, before calibration: SmoothQuant, for networks with attention."""

from dataclasses import dataclass

from stepdown.correction.channels import find_groups
from stepdown.correction.equalize import range_candidates, smooth_candidates
from stepdown.correction.rescale import best_factors, channel_statistics, rescale
from stepdown.correction.sampling import SamplingPass
from stepdown.correction.split_norms import split_norms
from stepdown.dialects.program import Program
from stepdown.errors import InputError


@dataclass(frozen=True)
class SmoothQuant(SamplingPass):
    """Scale wide channels of LayerNorms, queries, keys and values down, and what reads them up; outputs stay the same.

    Factors are weights' ranges^(1 - alpha) / activations' ranges^alpha; `auto` chooses alpha, or ranges alone, by the
    error that factors from half of the samples have on the other half. Channels that gain nothing keep their scale. A
    LayerNorm that a residual reads too gets a twin for the weights. Scaled tensors get new names, `X_smoothed`.
    """

    alpha: str = "auto"

    def run(self, program: Program) -> None:
        """Scale weights, biases and LayerNorms; rename the tensors that change.

        Raises:
            InputError: the module is not in float TOP, alpha is no share, or the samples do not fit the module.
        """
        self.check_float(program)
        alphas = self._alphas()
        samples = self.samples(program)
        twins = split_norms(program)
        groups = find_groups(program)
        seen = channel_statistics(program, groups, samples)
        for group in groups:
            extra = range_candidates(group) if self.alpha == "auto" else []
            factors = best_factors(program, group, seen, [*extra, *smooth_candidates(group, alphas)])
            rescale(program, group, factors, "_smoothed")
        for twin in twins:
            if not twin.copy.tensor_name.endswith("_smoothed"):
                twin.join()

    def _alphas(self) -> list[float]:
        if self.alpha == "auto":
            return []
        try:
            found = float(self.alpha)
        except ValueError:
            found = -1.0
        if not 0 <= found <= 1:
            raise InputError(f"--{self.pass_name()}: alpha is '{self.alpha}', want auto, or a number from 0 to 1")
        return [found]
