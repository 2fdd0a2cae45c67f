"""Scales channels up to the widest one of their tensor, before calibration, so that INT8 resolves them all."""

import sys
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.channel_statistics import ChannelStatistics
from stepdown.correction.channels import Group, find_groups
from stepdown.correction.equalize import HEADROOMS, Halves, choose_factors, scaled_maker, scaled_reader
from stepdown.correction.reconstruct import add_weight
from stepdown.correction.samples import ProgramSamples, open_samples
from stepdown.dialects.op import TensorOp, fused_of, layouts_of, location, names_of, value_name
from stepdown.dialects.program import Program, State
from stepdown.dialects.types import is_none
from stepdown.errors import InputError
from stepdown.runtimes.interpreter import Interpreter
from stepdown.transforms.base import Pass

_SUFFIX = "_equalized"
Seen = dict[SSAValue, Halves]


@dataclass(frozen=True)
class EqualizeChannels(Pass):
    """Scale narrow channels up, on samples, and the weights that read them down; outputs stay the same.

    Factors are chosen by the error that those found on half of the samples have on the other half; channels that gain
    nothing by them keep theirs. A channel under a ReLU with an upper clip is from then on clipped at `headroom` times
    its largest value on the samples, where that is less (0: chosen with the factors); everything else is the same
    function up to rounding. Tensors that are scaled get new names, `X_equalized`.
    """

    dataset: str = ""
    data_list: str = ""
    input_num: int = 0
    seed: int = 0
    headroom: float = 0.0

    def run(self, program: Program) -> None:
        """Scale weights and biases; rename the tensors that change.

        Raises:
            InputError: the module is not in float TOP, or the samples do not fit it.
        """
        if program["state"] != State.TOP_F32:
            raise InputError(f"--{self.pass_name()} needs a float module", program.path, "put it before calibration")
        samples = open_samples(program, self.dataset, self.data_list, self.input_num, self.seed)
        groups = find_groups(program)
        seen = _statistics(program, groups, samples)
        headrooms = (self.headroom,) if self.headroom else HEADROOMS
        for group in groups:
            _apply(program, group, seen, headrooms)


def _statistics(program: Program, groups: list[Group], samples: ProgramSamples) -> Seen:
    """Return what the samples show of the groups' tensors."""
    found = {v: (ChannelStatistics(g.channels), ChannelStatistics(g.channels)) for g in groups for v in g.tensors}
    number = 0

    def observe(op: TensorOp, index: int, array: np.ndarray) -> None:
        if halves := found.get(op.results[index]):
            halves[number % 2].add(np.moveaxis(array, 1, 0).reshape(array.shape[1], -1))

    interpreter = Interpreter(program)
    for number in range(len(samples)):
        interpreter.run(samples[number], observe)
    return found


def _apply(program: Program, group: Group, seen: Seen, headrooms: tuple[float, ...]) -> None:
    def constant(op: TensorOp, index: int = 1) -> np.ndarray:
        return program.weights[op.operands[index].owner.key]  # type: ignore[union-attr]

    factors = choose_factors(group, seen, constant, headrooms)
    if (factors == factors[0]).all():
        return
    for op in group.makers:
        _replace(program, op, 1, scaled_maker(op, constant(op), factors))
        if not is_none(op.operands[2]):
            _replace(program, op, 2, (constant(op, 2) * factors).astype(np.float32))
    for op in group.readers:
        _replace(program, op, 1, scaled_reader(op, constant(op), factors))
    for value in group.tensors:
        _rename(value.owner)  # type: ignore[arg-type]
    print(f"{value_name(group.tensors[0])}: {len(factors)} channels by 1 to {factors.max():.3g}", file=sys.stderr)


def _replace(program: Program, op: TensorOp, index: int, array: np.ndarray) -> None:
    op.operands[index] = add_weight(program, op, f"{value_name(op.operands[index])}{_SUFFIX}", array, "f32")


def _rename(op: TensorOp) -> None:
    """Give the op's tensor a name of its own: the source model has no such tensor."""
    old = names_of(op)
    op.location = location([f"{n}{_SUFFIX}" for n in old], [*fused_of(op), *old], True, layouts_of(op))
