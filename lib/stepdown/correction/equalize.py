"""The factors of a group of channels, and their application to weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.channels import Group, is_depthwise, read_rows
from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.numerics.quantize import WEIGHT_MAX

EXPONENTS = tuple(i / 8 for i in range(9))
"""How much of the difference between channels is taken out: 0 nothing, 1 all of it."""
MAX_FACTOR = 64.0
_STEPS = 255
_TINY = float(np.finfo(np.float32).tiny)


@dataclass
class ChannelStatistics:
    """What samples showed of the channels of a tensor: largest magnitude, sum of squares, count."""

    largest: np.ndarray
    squares: np.ndarray
    count: int = 0

    def add(self, array: np.ndarray) -> None:
        """Take in a tensor [N, C, …]."""
        flat = array.reshape(*array.shape[:2], -1)
        self.largest = np.maximum(self.largest, np.abs(flat).max(axis=(0, 2)))
        self.squares = self.squares + np.einsum("ncp,ncp->c", flat, flat, dtype=np.float64)
        self.count += flat.shape[0] * flat.shape[2]


def choose_factors(
    group: Group, seen: Mapping[SSAValue, ChannelStatistics], constant: Callable[[TensorOp], np.ndarray],
    headroom: float,
) -> np.ndarray:  # fmt: skip
    """Return the factor of each channel that lowers the expected error of the readers' outputs most.

    The error of rounding activations falls as channels are scaled up to the widest one; that of rounding the readers'
    weights may rise, for a row has one scale. Both are uniform rounding errors, step² / 12.
    """
    shares = np.max([_shares(group, v, seen[v], headroom) for v in group.tensors], axis=0)
    ratio = np.clip(1 / np.maximum(shares, 1 / MAX_FACTOR), 1.0, MAX_FACTOR)
    ratio[shares == 0] = 1.0
    readers = [(op, read_rows(op, constant(op)), seen[op.operands[0]]) for op in group.readers]

    def error(exponent: float) -> float:
        return sum(_error(op, rows, read, ratio**exponent) for op, rows, read in readers)

    exponent: float = min(EXPONENTS, key=error)
    return np.asarray(ratio**exponent)


def _shares(group: Group, value: SSAValue, seen: ChannelStatistics, headroom: float) -> np.ndarray:
    """Return how much of a tensor's range each channel takes; below a clip the clip is the range."""
    clipped = group.limit is not None and value.owner in group.makers
    widest = float(group.limit or 0.0) if clipped else float(seen.largest.max(initial=0.0))
    return np.minimum(seen.largest * (headroom if clipped else 1.0) / max(widest, _TINY), 1.0)


def _error(op: TensorOp, rows: np.ndarray, read: ChannelStatistics, factors: np.ndarray) -> float:
    """Return the expected squared error of the outputs of one reader, of all rows together."""
    step = float((read.largest * factors).max(initial=0.0)) / _STEPS
    gain = np.square(rows).sum(axis=2)  # [O, C]
    noise = np.square(step / factors) / 12
    if isinstance(op, Conv) and is_depthwise(op):
        return float((gain[:, 0] * noise).sum())  # a row reads one channel: its scale takes the factor in
    steps = (np.abs(rows).max(axis=2) / factors).max(axis=1) / WEIGHT_MAX
    power = float((np.square(factors) * read.squares).sum()) / max(1, read.count) * rows.shape[2]
    return float((gain * noise).sum() + (np.square(steps) / 12).sum() * power)


def scaled_maker(op: TensorOp, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the weight of an op whose output channels are multiplied by `factors`."""
    if isinstance(op, MatMul) and not op.right_transpose:
        return (weight * factors).astype(weight.dtype)
    return (weight * _along(factors, weight.ndim, 0)).astype(weight.dtype)


def scaled_reader(op: TensorOp, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the weight of an op whose input channels come multiplied by `factors`."""
    if isinstance(op, MatMul):
        axis = 1 if op.right_transpose else 0
    else:
        axis = 0 if isinstance(op, Conv) and is_depthwise(op) else 1
    return (weight / _along(factors, weight.ndim, axis)).astype(weight.dtype)


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape: Sequence[int] = [-1 if i == axis else 1 for i in range(rank)]
    return values.reshape(shape)
