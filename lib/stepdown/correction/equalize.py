"""The factors of a group of channels, and their application to weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from stepdown.correction.channel_statistics import ChannelStatistics
from stepdown.correction.channels import Group, is_depthwise, read_rows
from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.numerics.quantize import WEIGHT_MAX

EXPONENTS = tuple(i / 8 for i in range(9))
"""How much of the difference between channels is taken out: 0 nothing, 1 all of it."""
HEADROOMS = (1.0, 1.25, 1.6, 2.0)
"""By how much a channel under a clip may be larger than the samples showed, before it is clipped."""
MAX_FACTOR = 64.0
_STEPS = 255
_TINY = float(np.finfo(np.float32).tiny)
Halves = tuple[ChannelStatistics, ChannelStatistics]
"""The even samples, and the odd ones."""


@dataclass(frozen=True)
class Reader:
    """An op that reads a group: its weights [O, C, K], and the tensor that it reads."""

    op: TensorOp
    rows: np.ndarray
    value: SSAValue


def choose_factors(
    group: Group, seen: Mapping[SSAValue, Halves], constant: Callable[[TensorOp], np.ndarray],
    headrooms: Sequence[float] = HEADROOMS,
) -> np.ndarray:  # fmt: skip
    """Return the factor of each channel that lowers the expected error of the readers' outputs most.

    Exponent and headroom are those whose factors, found on half of the samples, have the least error on the other
    half; the factors are then found on all. They are 1 where nothing has less error than that.
    """
    readers = [Reader(op, read_rows(op, constant(op)), op.operands[0]) for op in group.readers]
    halves = [{value: seen[value][i] for value in group.tensors} for i in range(2)]
    if any(part.count == 0 for part in halves[1].values()):
        halves[1] = halves[0]

    def error(exponent: float, headroom: float) -> float:
        fitted = [_ratios(group, half, headroom) ** exponent for half in halves]
        return sum(
            _error(group, reader, halves[i][reader.value], halves[1 - i][reader.value], fitted[i])
            for i in range(2) for reader in readers
        )  # fmt: skip

    tried = ((e, h) for e in EXPONENTS for h in (headrooms if group.limit is not None and e else headrooms[:1]))
    exponent, headroom = min(tried, key=lambda pair: error(*pair))
    return np.asarray(_ratios(group, {v: a + b for v, (a, b) in seen.items() if v in halves[0]}, headroom) ** exponent)


def _ratios(group: Group, seen: Mapping[SSAValue, ChannelStatistics], headroom: float) -> np.ndarray:
    """Return the factors that take all of the difference between channels out."""
    shares = np.max([_shares(group, value, seen[value], headroom) for value in group.tensors], axis=0)
    ratio = np.clip(1 / np.maximum(shares, 1 / MAX_FACTOR), 1.0, MAX_FACTOR)
    return np.asarray(np.where(shares == 0, 1.0, ratio))


def _shares(group: Group, value: SSAValue, seen: ChannelStatistics, headroom: float) -> np.ndarray:
    """Return how much of a tensor's range each channel takes; below a clip the clip is the range."""
    clipped = group.limit is not None and value.owner in group.makers
    widest = float(group.limit or 0.0) if clipped else float(seen.largest.max(initial=0.0))
    return np.minimum(seen.largest * (headroom if clipped else 1.0) / max(widest, _TINY), 1.0)


def _error(
    group: Group, reader: Reader, known: ChannelStatistics, unseen: ChannelStatistics, factors: np.ndarray
) -> float:
    """Return the expected squared error of one reader's outputs on `unseen`, of all rows together.

    That of what it reads: values clipped at the range that is `known`, and rounded with an error of step² / 12. That
    of its weights: rounded, with an error of their own step² / 12.
    """
    widest = float((known.largest * factors).max(initial=0.0))
    clip = min(widest, group.limit) if group.limit is not None else widest
    noise = np.square(clip / _STEPS / factors) / 12 + unseen.excess(clip / factors)
    gain = np.square(reader.rows).sum(axis=2)  # [O, C]
    if isinstance(reader.op, Conv) and is_depthwise(reader.op):
        return float((gain[:, 0] * noise).sum())  # a row reads one channel: its scale takes the factor in
    steps = (np.abs(reader.rows).max(axis=2) / factors).max(axis=1) / WEIGHT_MAX
    power = float((np.square(factors) * unseen.power()).sum()) * reader.rows.shape[2]
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
