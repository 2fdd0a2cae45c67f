"""How far apart two f32 results of an op may be that sum the same products in different orders.

A sum of n products of float32 numbers, in any order, with or without fused multiply-add, is within γ_n · Σ |x_i · y_i|
of the exact one, where γ_n = n · u / (1 − n · u) and u = 2^-24 (N. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd edition, sections 3.1 and 4.2). Two such sums are within twice that of each other. Clipping to bounds,
as a fused ReLU does, brings them no further apart. An op that sums nothing has one result, to the bit.
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


def bound(op: TensorOp, operands: list[Any]) -> np.ndarray:
    """Return, for every element of the first result, how far apart two results on these operands may be."""
    if op.name.split(".")[1] not in _SUMS:
        return np.zeros(shape_of(op.results[0]))
    depth = terms(op)
    gamma = depth * UNIT / (1 - depth * UNIT)
    return 2 * (gamma * _magnitudes(op, operands) + depth * SMALLEST)


def terms(op: TensorOp) -> int:
    """Return the roundings on the way of an addend: one a product and sum, one for the bias or the division."""
    results = math.prod(shape_of(op.results[0]))
    if op.cost():
        return -(-op.cost() // results) + 1
    given = math.prod(shape_of(op.operands[0]))
    return math.prod(getattr(op, "kernel_shape", None) or (-(-given // results),)) + 1


def _magnitudes(op: TensorOp, operands: list[Any]) -> np.ndarray:
    """Return Σ |x_i · y_i| of every element: the op itself on absolute values, without its bounds."""
    plain = op.clone()
    plain.attributes = {name: value for name, value in op.attributes.items() if name not in ("do_relu", "relu_limit")}
    sizes = [None if x is None else np.abs(x.astype(np.float64)) for x in operands]
    found = np.asarray(plain.compute(*sizes)[0])
    plain.drop_all_references()
    return found
