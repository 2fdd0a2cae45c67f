"""Moves the range of every channel to lie about zero, before calibration, where biases can do that."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.reconstruct import add_weight
from stepdown.correction.rescale import rename_tensors
from stepdown.correction.samples import ProgramSamples
from stepdown.correction.sampling import SamplingPass
from stepdown.correction.shifts import Extent, Shiftable, best_shifts, find_shiftable, taken_back
from stepdown.dialects.op import TensorOp, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.types import is_none
from stepdown.runtimes.interpreter import Interpreter


@dataclass(frozen=True)
class ShiftChannels(SamplingPass):
    """Shift channels of tensors without ReLU, on samples, so that their ranges lie about zero; outputs stay the same.

    The biases of the convolutions and matrix products that make a tensor move it, those that read it move it back;
    sums of such tensors, as residuals are, move with them. Where something else reads a tensor, or a padding of zeros
    is read with it, it stays. Shifted tensors get new names, `X_shifted`. Put it before --equalize-channels.
    """

    def run(self, program: Program) -> None:
        """Change biases; rename the tensors that move.

        Raises:
            InputError: the module is not in float TOP, or the samples do not fit it.
        """
        self.check_float(program)
        samples = self.samples(program)
        shiftable = find_shiftable(program)
        extents = _extents(program, shiftable, samples)
        shifts = best_shifts(shiftable, extents)
        for op in shiftable.readers:
            weight = program.weights[op.operands[1].owner.key]  # type: ignore[union-attr]
            _add_bias(program, op, taken_back(op, weight, shiftable.shift_of(op.operands[0], shifts)))
        for op, shift in shifts.items():
            _add_bias(program, op, -shift)
        for value, extent in extents.items():
            after = extent.reach(shiftable.shift_of(value, shifts)).max()
            print(f"{value_name(value)}: up to {extent.reach(np.zeros(1)).max():.3g} → {after:.3g}", file=sys.stderr)
        for value in extents:
            rename_tensors(value.owner, "_shifted")  # type: ignore[arg-type]


def _extents(program: Program, shiftable: Shiftable, samples: ProgramSamples) -> Mapping[SSAValue, Extent]:
    """Return the ranges of the tensors' channels over all samples."""
    lows = {value: np.full(shiftable.channels(value), np.inf) for value in shiftable.forms}
    highs = {value: -low for value, low in lows.items()}

    def observe(op: TensorOp, index: int, array: np.ndarray) -> None:
        value = op.results[index]
        if value in lows:
            rows = shiftable.by_channel(value, array)
            lows[value] = np.minimum(lows[value], rows.min(axis=1))
            highs[value] = np.maximum(highs[value], rows.max(axis=1))

    interpreter = Interpreter(program)
    for number in range(len(samples)):
        interpreter.run(samples[number], observe)
    return {value: Extent((lows[value] + highs[value]) / 2, (highs[value] - lows[value]) / 2) for value in lows}


def _add_bias(program: Program, op: TensorOp, more: np.ndarray) -> None:
    given = op.operands[2]
    key = f"{op.tensor_name}_bias" if is_none(given) else f"{value_name(given)}_shifted"
    old = 0.0 if is_none(given) else program.weights[given.owner.key].astype(np.float64)  # type: ignore[union-attr]
    op.operands[2] = add_weight(program, op, key, (old + more).astype(np.float32), "f32")
