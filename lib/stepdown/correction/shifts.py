"""Shifts of the channels of a float network's tensors that put their ranges about zero: where, and by how much.

Outlier Suppression+ (Wei et al., arXiv:2304.09145) shifts what a LayerNorm makes. Here the bias of a convolution or
matrix product shifts the channels of its result, a sum adds up the shifts of what it reads, and an op with weights
takes the shift of what it reads back in its own bias. That is exact where no zeros of a padding are read with the
tensor.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.moments import has_moments, weight_rows
from stepdown.dialects.op import TensorOp
from stepdown.dialects.program import Program
from stepdown.dialects.top.mac import Conv
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import is_none, shape_of

_SWEEPS = 30
_HALVINGS = 48
Form = Mapping[TensorOp, int]
"""How often a tensor holds the shift of each op's result: its shift is their sum."""


@dataclass
class Shiftable:
    """The tensors that can be shifted."""

    forms: dict[SSAValue, Form] = field(default_factory=dict)
    axes: dict[SSAValue, int] = field(default_factory=dict)
    """The axis of each tensor's channels."""
    readers: list[TensorOp] = field(default_factory=list)
    """The ops that take the shift of their first operand back."""

    @property
    def makers(self) -> list[TensorOp]:
        """The ops whose results are shifted by their bias, in the program's order."""
        return list(dict.fromkeys(op for form in self.forms.values() for op in form))

    def channels(self, value: SSAValue) -> int:
        """Return the number of channels of a tensor."""
        return shape_of(value)[self.axes[value]]

    def by_channel(self, value: SSAValue, array: np.ndarray) -> np.ndarray:
        """Return a tensor's values as [C, P]."""
        return np.moveaxis(array, self.axes[value], 0).reshape(self.channels(value), -1)

    def shift_of(self, value: SSAValue, shifts: Mapping[TensorOp, np.ndarray]) -> np.ndarray:
        """Return the shift [C] of a tensor, of those of the makers' results."""
        start = np.zeros(self.channels(value))
        return sum((times * shifts[op] for op, times in self.forms[value].items()), start)


@dataclass(frozen=True)
class Extent:
    """The middle and half the width of the range of each channel [C]."""

    middle: np.ndarray
    half: np.ndarray

    def reach(self, shift: np.ndarray) -> np.ndarray:
        """Return how far each channel is from zero at most, when `shift` is taken from it."""
        return np.asarray(self.half + np.abs(self.middle - shift))


def find_shiftable(program: Program) -> Shiftable:
    """Return the tensors of `program` whose channels can be shifted."""
    found, held = Shiftable(), set[TensorOp]()
    for op in program.ops:
        if not isinstance(op, Weight):
            held.update(_follow(found, op))
    for value in program.results:
        held.update(found.forms.get(value, ()))
    free = {v: {op: n for op, n in form.items() if op not in held} for v, form in found.forms.items()}
    found.forms = {value: form for value, form in free.items() if form}
    found.readers = [op for op in found.readers if op.operands[0] in found.forms]
    return found


def _follow(found: Shiftable, op: TensorOp) -> set[TensorOp]:
    """Note what `op` does with shifts; return the makers whose results must keep their place for its sake."""
    if _has_weights(op):
        value, axis = op.operands[0], _channel_axis(op, op.operands[0])
        _make(found, op)
        if found.axes.get(value) == axis and not any(getattr(op, "pads", ())):
            found.readers.append(op)
            return set()
    elif _add(found, op):
        return set()
    return {maker for value in op.operands for maker in found.forms.get(value, ())}


def _has_weights(op: TensorOp) -> bool:
    """Tell whether `op` is a convolution or matrix product with constant weights and bias."""
    constant = all(is_none(v) or isinstance(v.owner, Weight) for v in op.operands[1:])
    return has_moments(op) and constant and (isinstance(op, Conv) or len(shape_of(op.operands[1])) == 2)


def _make(found: Shiftable, op: TensorOp) -> None:
    value = op.results[0]
    if not op.do_relu:  # type: ignore[attr-defined]
        found.forms[value], found.axes[value] = {op: 1}, _channel_axis(op, value)


def _channel_axis(op: TensorOp, value: SSAValue) -> int:
    """Return the axis of the channels that an op with weights reads or makes."""
    return 1 if isinstance(op, Conv) else len(shape_of(value)) - 1


def _add(found: Shiftable, op: TensorOp) -> bool:
    """Note a sum of tensors of one shape; False where it is none, or shifts do not pass it."""
    read = [v for v in op.operands if v in found.forms]
    alike = {(found.axes[v], shape_of(v)) for v in read}
    if op.name != "top.Add" or op.do_relu or len(alike) != 1:  # type: ignore[attr-defined]
        return False
    (axis, shape), value = alike.pop(), op.results[0]
    if shape != shape_of(value):
        return False
    makers = dict.fromkeys(maker for v in read for maker in found.forms[v])
    found.forms[value] = {maker: sum(found.forms[v].get(maker, 0) for v in read) for maker in makers}
    found.axes[value] = axis
    return True


def best_shifts(shiftable: Shiftable, extents: Mapping[SSAValue, Extent]) -> dict[TensorOp, np.ndarray]:
    """Return the shift [C] of each maker's result: the one of the least Σ reach² over all tensors that hold it.

    Sums tie shifts together, so that not every tensor can have its middle at zero. Each maker's shifts are set to the
    best ones in turn; every step is a convex problem of one number a channel.
    """
    found = {op: np.zeros(shiftable.channels(op.results[0])) for op in shiftable.makers}
    holders = {op: [v for v, form in shiftable.forms.items() if op in form] for op in found}
    for _ in range(_SWEEPS):
        for op, held in holders.items():
            times = [shiftable.forms[v][op] for v in held]
            rest = [shiftable.shift_of(v, found) - n * found[op] for v, n in zip(held, times, strict=True)]
            left = [Extent(extents[v].middle - r, extents[v].half) for v, r in zip(held, rest, strict=True)]
            found[op] = _least(left, times)
    return found


def _least(extents: Sequence[Extent], times: Sequence[int]) -> np.ndarray:
    """Return u [C] of the least Σ (half + |middle − n·u|)², n one of `times`, by halving where its slope turns."""
    centres = np.stack([extent.middle / n for extent, n in zip(extents, times, strict=True)])
    low, high = centres.min(axis=0), centres.max(axis=0)
    for _ in range(_HALVINGS if len(extents) > 1 else 0):
        u = (low + high) / 2
        off = [(extent.middle - n * u, extent.half, n) for extent, n in zip(extents, times, strict=True)]
        falls = sum(n * np.sign(d) * (half + np.abs(d)) for d, half, n in off) > 0
        low, high = np.where(falls, u, low), np.where(falls, high, u)
    return np.asarray((low + high) / 2)


def taken_back(op: TensorOp, weight: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return what the bias [O] of a reader needs more, where `shift` [C] is taken from what it reads."""
    rows = weight_rows(op, weight).astype(np.float64)
    kernel = math.prod(weight.shape[2:]) if isinstance(op, Conv) else 1
    columns = np.repeat(shift, kernel).reshape(rows.shape[0], rows.shape[2], 1)
    return np.matmul(rows, columns).reshape(-1)
