"""Ops whose operands are all constant are computed."""

import numpy as np

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import DTYPES, quant_of, storage_of
from stepdown.transforms.rewrite import Rewriter, elements_of, is_constant, pattern, returned

MAX_FOLDED_BYTES = 64 << 20
"""A constant op whose result would be larger than its operands and this stays an op."""


@pattern()
def fold_constants(graph: Rewriter, op: TensorOp) -> bool:
    """Compute an op that reads only constants, unless it is an output."""
    if isinstance(op, Input | Weight | Absent) or not all(map(is_constant, op.operands)):
        return False
    if any(map(returned, op.results)) or any(storage_of(r) == "bf16" for r in op.results):
        return False
    if any(map(quant_of, op.operands)):
        return False  # a constant of a quantised network keeps its integers
    arrays = [graph.constant(v) for v in op.operands]
    grown = sum(DTYPES[storage_of(r)].itemsize * elements_of(r.type) for r in op.results)
    read = dict(zip(op.operands, arrays, strict=True))  # one that is read twice counts once
    grown -= sum(a.nbytes for a in read.values() if a is not None)
    if grown > MAX_FOLDED_BYTES or not graph.program.weights.may_grow(grown):
        return False
    try:
        with np.errstate(all="ignore"):
            results = op.compute(*arrays)
    except (IndexError, ValueError, ZeroDivisionError, OverflowError):
        return False
    graph.fold(op, [_stored(a, storage_of(r)) for a, r in zip(results, op.results, strict=True)])
    return True


def _stored(array: np.ndarray, storage: str) -> np.ndarray:
    """Return a result as the weight file holds it."""
    return np.asarray(array).astype(np.float16 if storage == "f16" else DTYPES[storage], copy=False)
