"""How far apart two f32 results of an op may be that sum the same products in different orders.

A sum of n products of float32 numbers, in any order, with or without fused multiply-add, is within γ_n · Σ |x_i · y_i|
of the exact one, where γ_n = n · u / (1 − n · u) and u = 2^-24 (N. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd edition, sections 3.1 and 4.2). Two such sums are within twice that of each other. Clipping to bounds,
as a fused ReLU does, brings them no further apart. An op that sums nothing has one result, to the bit.

In a group of ops that is cut into tiles, rows at the edges are made in two tiles, each with sums in its own order, and
a later op of the group reads those of its own tile, where a dump shows one of the two. How far apart they may be is
carried on from op to op: `carried`.
"""

import math
from typing import Any

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.types import shape_of

UNIT = 2.0**-24
SMALLEST = 2.0**-149
"""The least positive float32: what a product may lose where it underflows."""
_SUMS = ("Conv", "ConvTranspose", "MatMul", "AveragePool", "ReduceMean", "ReduceSum")
_LIPSCHITZ = {"Max": 1.0, "Min": 1.0, "Relu": 1.0, "Clip": 1.0, "HardSigmoid": 1.0, "HardSwish": 1.5}
"""By how much a difference can grow at most; the slope of x · clip(x / 6 + 1 / 2, 0, 1) is at most 1.5."""


def bound(op: TensorOp, operands: list[Any]) -> np.ndarray:
    """Return, for every element of the first result, how far apart two results on these operands may be."""
    if op.name.split(".")[1] not in _SUMS:
        return np.zeros(shape_of(op.results[0]))
    depth = terms(op)
    gamma = depth * UNIT / (1 - depth * UNIT)
    return 2 * (gamma * _magnitudes(op, operands) + depth * SMALLEST)


def carried(op: TensorOp, operands: list[Any], apart: list[Any]) -> np.ndarray:
    """Return how far apart two results may be, each exact, whose operands differ by at most `apart` (None: not at all).

    Raises:
        ValueError: it is not known how the op carries on differences.
    """
    name = op.name.split(".")[1]
    shape = shape_of(op.results[0])
    if all(each is None for each in apart):
        return np.zeros(shape)
    given = [np.zeros(()) if each is None else each for each in apart]
    if name in ("Conv", "ConvTranspose", "MatMul"):
        return _plain(op, [given[0], np.abs(operands[1].astype(np.float64)), *(None for _ in operands[2:])])
    if name in ("AveragePool", "MaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "Reshape"):
        return _plain(op, given)
    if name in ("Add", "Sub"):
        return np.broadcast_to(sum(given), shape)
    if name == "Mul":
        left, right = (np.abs(each.astype(np.float64)) for each in operands)
        return np.broadcast_to(left * given[1] + right * given[0] + given[0] * given[1], shape)
    if name in _LIPSCHITZ:
        return np.broadcast_to(_LIPSCHITZ[name] * np.maximum.reduce(np.broadcast_arrays(*given)), shape)
    raise ValueError(f"{op.name}: what becomes of a difference in its operands?")


def terms(op: TensorOp) -> int:
    """Return the roundings on the way of an addend: one a product and sum, one for the bias or the division."""
    results = math.prod(shape_of(op.results[0]))
    if op.cost():
        return -(-op.cost() // results) + 1
    given = math.prod(shape_of(op.operands[0]))
    return math.prod(getattr(op, "kernel_shape", None) or (-(-given // results),)) + 1


def _magnitudes(op: TensorOp, operands: list[Any]) -> np.ndarray:
    """Return Σ |x_i · y_i| of every element: the op itself on absolute values, without its bounds."""
    return _plain(op, [None if x is None else np.abs(x.astype(np.float64)) for x in operands])


def _plain(op: TensorOp, operands: list[Any]) -> np.ndarray:
    """Return what an op makes of operands without its fused ReLU."""
    plain = op.clone()
    plain.attributes = {name: value for name, value in op.attributes.items() if name not in ("do_relu", "relu_limit")}
    found = np.asarray(plain.compute(*operands)[0])
    plain.drop_all_references()
    return found
