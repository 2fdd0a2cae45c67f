"""Which tensors of a float network may have their channels rescaled together, and by how much that helps INT8.

A factor f for channel c of a tensor is multiplied into the weights that make the channel and divided out of those that
read it: cross-layer equalisation (Nagel et al., arXiv:1906.04721), with ranges that samples have shown. Tensors that
are added, pooled or reshaped into one another form one group and share their factors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import is_none, shape_of

_AVERAGES = ("top.AveragePool", "top.MaxPool")


@dataclass
class Group:
    """Tensors that share channel factors: who makes them from weights, and who reads them into weights."""

    tensors: list[SSAValue] = field(default_factory=list)
    makers: list[TensorOp] = field(default_factory=list)
    readers: list[TensorOp] = field(default_factory=list)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return shape_of(self.tensors[0])[1]

    @property
    def limit(self) -> float | None:
        """The upper clip of the makers' ReLUs, None where there is none.

        One clip serves all channels, so that each channel's own is the clip divided by its factor.
        """
        limits = [float(op.relu_limit) for op in self.makers if op.do_relu and op.relu_limit >= 0]  # type: ignore[attr-defined]
        return min(limits, default=None)


def find_groups(program: Program) -> list[Group]:
    """Return the groups of `program` whose channels can be rescaled, in the program's order."""
    parent: dict[SSAValue, SSAValue] = {}

    def root(value: SSAValue) -> SSAValue:
        while parent.setdefault(value, value) is not value:
            value = parent[value]
        return value

    for op in program.ops:
        for value in _tied(op):
            parent[root(value)] = root(op.results[0])
    found: dict[SSAValue, Group] = {}
    for op in program.ops:
        for value in op.results:
            if not is_none(value) and not isinstance(op, Weight):
                found.setdefault(root(value), Group()).tensors.append(value)
    return [g for g in found.values() if _complete(g, set(program.results))]


def _tied(op: TensorOp) -> Iterator[SSAValue]:
    """Yield the operands whose channels are the result's, each on its own."""
    passes = op.name in _AVERAGES or (op.name == "top.ReduceMean" and _keeps_channels(op)) or _drops_ones(op)
    if op.name == "top.Add" and not _clips(op):
        same = [v for v in op.operands if shape_of(v) == shape_of(op.results[0])]
        passes = len(same) == len(op.operands) and not any(isinstance(v.owner, Weight) for v in op.operands)
    if passes and len(op.results) == 1:
        yield from op.operands


def _keeps_channels(op: TensorOp) -> bool:
    rank = len(shape_of(op.operands[0]))
    return bool(op.axes) and all(axis % rank > 1 for axis in op.axes)  # type: ignore[attr-defined]


def _drops_ones(op: TensorOp) -> bool:
    if op.name != "top.Reshape":
        return False
    before, after = shape_of(op.operands[0]), shape_of(op.results[0])
    return before[:2] == after[:2] and all(n == 1 for n in (*before[2:], *after[2:]))


def _clips(op: TensorOp) -> bool:
    return bool(op.do_relu) and op.relu_limit >= 0  # type: ignore[attr-defined]


def _complete(group: Group, results: set[SSAValue]) -> bool:
    """Collect who makes and reads the group; tell whether all of them can take factors."""
    inside = set(group.tensors)
    if inside & results or any(len(shape_of(v)) < 2 for v in group.tensors):
        return False
    for value in group.tensors:
        maker = value.owner
        if not isinstance(maker, TensorOp) or not (inside.issuperset(_tied(maker)) and list(_tied(maker))):
            if not _takes_factors(maker):
                return False
            group.makers.append(maker)  # type: ignore[arg-type]
        for use in value.uses:
            if not set(use.operation.results) & inside or use.operation in group.makers or _is_mac(use.operation):
                if not (use.index == 0 and _takes_factors(use.operation)):
                    return False
                group.readers.append(use.operation)
    limits = {float(op.relu_limit) for op in group.makers if _clips(op)}  # type: ignore[attr-defined]
    alike = not limits or (len(limits) == 1 and len(group.makers) == 1)
    return alike and bool(group.makers) and bool(group.readers)


def _is_mac(op: Operation) -> bool:
    return isinstance(op, Conv | MatMul)


def _takes_factors(op: object) -> bool:
    """Tell whether channels can be scaled in the weights of `op`: constants, not shared with another op."""
    if not isinstance(op, Conv | MatMul):
        return False
    alone = all(is_none(v) or isinstance(v.owner, Weight) for v in op.operands[1:])
    if isinstance(op, MatMul):
        return alone and len(shape_of(op.operands[1])) == 2 and len(shape_of(op.operands[0])) == 2
    return alone and (op.group == 1 or is_depthwise(op))


def is_depthwise(op: Conv) -> bool:
    """Tell whether each channel is convolved with one kernel of its own."""
    return bool(op.group == shape_of(op.operands[0])[1] == shape_of(op.operands[1])[0])


def read_rows(op: TensorOp, weight: np.ndarray) -> np.ndarray:
    """Return the weights of `op` as [O, C, K]: outputs, channels that they read (1 if depthwise), kernel positions."""
    if isinstance(op, MatMul):
        return (weight if op.right_transpose else weight.T)[:, :, None]
    return weight.reshape(*weight.shape[:2], -1)
