"""What samples show of the channels of groups, and the factors of a group put into its constants."""

import sys

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.channel_statistics import ChannelStatistics
from stepdown.correction.channels import Group
from stepdown.correction.equalize import Candidate, Choice, Halves
from stepdown.correction.patterns import is_depthwise
from stepdown.correction.reconstruct import add_weight
from stepdown.correction.samples import ProgramSamples
from stepdown.dialects.op import TensorOp, fused_of, layouts_of, location, names_of, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.runtimes.interpreter import Interpreter, OnTensor

Statistics = dict[SSAValue, Halves]


def channel_statistics(program: Program, groups: list[Group], samples: ProgramSamples) -> Statistics:
    """Return what the even and the odd samples show of the groups' tensors."""
    members = {value: member for group in groups for value, member in group.members.items()}
    found = {v: (ChannelStatistics(m.channels), ChannelStatistics(m.channels)) for v, m in members.items()}

    def observer(half: int) -> OnTensor:
        def observe(op: TensorOp, index: int, array: np.ndarray) -> None:
            value = op.results[index]
            if member := members.get(value):
                found[value][half].add(member.by_channel(array))

        return observe

    interpreter = Interpreter(program)
    for number in range(len(samples)):
        interpreter.run(samples[number], observer(number % 2))
    return found


def best_factors(
    program: Program, group: Group, seen: Statistics, candidates: list[Candidate], rounding: float = 1.0
) -> np.ndarray:
    """Return the factors of a group, chosen among those of `candidates` and none; `rounding` as `Choice` has it."""
    return Choice(group, seen, lambda op: _constant(program, op, 1), rounding).best(candidates)


def rescale(program: Program, group: Group, factors: np.ndarray, suffix: str) -> None:
    """Put factors into the constants around a group and say so; its tensors get names of their own, with `suffix`.

    Nothing is done where all factors are 1.
    """
    if (factors == 1).all():
        return
    name = value_name(group.tensors[0])
    print(f"{name}: {group.size} channels by {factors.min():.3g} to {factors.max():.3g}", file=sys.stderr)
    for op, constants in group.makers.items():
        for index in constants:
            array = _constant(program, op, index)
            made = array * _shaped(group, op, index, array, factors)
            _replace(program, op, index, made.astype(array.dtype), suffix)
    for op in group.readers:
        array = _constant(program, op, 1)
        scale = group.members[op.operands[0]].factors(factors)
        _replace(program, op, 1, (array / _along(scale, array.ndim, _input_axis(op))).astype(array.dtype), suffix)
    changed = [value.owner for value, member in group.members.items() if (member.factors(factors) != 1).any()]
    for owner in dict.fromkeys(changed):
        rename_tensors(owner, suffix)  # type: ignore[arg-type]


def _shaped(group: Group, op: TensorOp, index: int, array: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the factors of the channels that `op` makes, as one of its constants is multiplied by them."""
    member = group.members[op.results[0]]
    scale = member.factors(factors)
    if isinstance(op, Conv | MatMul):
        output = 0 if isinstance(op, Conv) or op.right_transpose else array.ndim - 1
        return _along(scale, array.ndim, output if index == 1 else 0)
    shape = member.shape[len(member.shape) - array.ndim :] if array.ndim and array.size == scale.size else member.shape
    return scale.reshape(shape)


def _input_axis(op: TensorOp) -> int:
    """Return the axis of a weight along which it reads channels."""
    if isinstance(op, MatMul):
        return 1 if op.right_transpose else 0
    return 0 if isinstance(op, Conv) and is_depthwise(op) else 1


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _constant(program: Program, op: TensorOp, index: int) -> np.ndarray:
    return program.weights[op.operands[index].owner.key]  # type: ignore[union-attr]


def _replace(program: Program, op: TensorOp, index: int, array: np.ndarray, suffix: str) -> None:
    op.operands[index] = add_weight(program, op, f"{value_name(op.operands[index])}{suffix}", array, "f32")


def rename_tensors(op: TensorOp, suffix: str) -> None:
    """Give the op's tensors names of their own: the source model has no such tensors."""
    old = names_of(op)
    op.location = location([f"{n}{suffix}" for n in old], [*fused_of(op), *old], True, layouts_of(op))
