"""The factors of a group of channels, and their application to weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stepdown.correction.channels import Group, is_depthwise, read_rows
from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.numerics.quantize import WEIGHT_MAX

EXPONENTS = tuple(i / 8 for i in range(9))
"""How much of the difference between channels is taken out: 0 nothing, 1 all of it."""
MAX_FACTOR = 64.0
_STEPS = 255


@dataclass
class ChannelStatistics:
    """What samples showed of the channels of a group: largest magnitude, sum of squares, count."""

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
    group: Group, seen: ChannelStatistics, constant: Callable[[TensorOp], np.ndarray], headroom: float
) -> np.ndarray:
    """Return the factor of each channel that lowers the expected error of the readers' outputs most.

    The error of rounding activations falls as channels are scaled up to the widest one; that of rounding the readers'
    weights may rise, for a row has one scale. Both are uniform rounding errors, step² / 12.
    """
    top = float(seen.largest.max(initial=0.0))
    limit = group.limit
    if top <= 0:
        return np.ones(group.channels)
    ranges = np.where(seen.largest > 0, seen.largest * (headroom if limit is not None else 1.0), top)
    widest = limit if limit is not None else top
    ratio = np.clip(widest / np.minimum(ranges, widest), 1.0, MAX_FACTOR)
    power = seen.squares / max(1, seen.count)
    rows = [(op, read_rows(op, constant(op))) for op in group.readers]
    span = min(widest, top * headroom) if limit is not None else top

    def error(exponent: float) -> float:
        return sum(_error(op, w, ratio**exponent, ranges, power, span) for op, w in rows)

    return np.asarray(ratio ** min(EXPONENTS, key=error))


def _error(op: TensorOp, w: np.ndarray, factors: np.ndarray, ranges: np.ndarray, power: np.ndarray, span: float) -> float:
    """Return the expected squared error of the outputs of one reader, of all rows together."""
    step = float((ranges * factors).max()) / _STEPS if span > 0 else 0.0
    gain = np.square(w).sum(axis=2)  # [O, C]
    noise = np.square(step / factors) / 12
    if isinstance(op, Conv) and is_depthwise(op):
        return float((gain[:, 0] * noise).sum())  # a row reads one channel: its scale takes the factor in
    scaled = np.abs(w).max(axis=2) / factors
    steps = scaled.max(axis=1) / WEIGHT_MAX
    read = (np.square(factors) * power).sum() * w.shape[2]
    return float((gain * noise).sum() + (np.square(steps) / 12).sum() * read)


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
