"""Functions that a framework wrote out in small ops: they are found by their shape and become one op again.

In INT8 a written-out variance or gate would be rounded at every step; the one op is rounded once.
"""

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.activation import HardSwish
from stepdown.dialects.top.normalization import LayerNorm
from stepdown.dialects.types import is_none, shape_of
from stepdown.transforms.rewrite import Rewriter, only_read_here, pattern


@pattern("Mul")
def fuse_hard_swish(graph: Rewriter, op: TensorOp) -> bool:
    """The product x · min(max(x + 3, 0), 6) · (1 / 6) is HardSwish."""
    for product, sixth in _both_ways(op.operands):
        inner = only_read_here(product, "Mul")
        if inner is None or not _is_scalar(graph, sixth, 1 / 6) or _activated(op) or _activated(inner):
            continue
        for x, gate in _both_ways(inner.operands):
            shifted = only_read_here(gate, "Add")
            if shifted is not None and _is_gate(graph, shifted, x):
                graph.replace(op, HardSwish, [x], [shifted, inner])
                return True
    return False


@pattern("Div")
def fuse_layer_norm(graph: Rewriter, op: TensorOp) -> bool:
    """The quotient (x − mean) / sqrt(mean((x − mean)²) + epsilon) over the last dimension is LayerNorm."""
    centred = op.operands[0].owner
    root = only_read_here(op.operands[1], "Sqrt")
    total = root and only_read_here(root.operands[0], "Add")
    if not isinstance(centred, TensorOp) or centred.name != "top.Sub" or root is None or total is None:
        return False
    x, mean = centred.operands[0], only_read_here(centred.operands[1], "ReduceMean")
    for variance, epsilon in _both_ways(total.operands):
        value, average = graph.constant(epsilon), only_read_here(variance, "ReduceMean")
        if value is None or value.size != 1 or average is None or mean is None or mean.operands[0] is not x:
            continue
        square = _square_of(average.operands[0], op.operands[0])
        if square is not None and all(_over_last(m) for m in (mean, average)) and not _activated(op):
            ones = graph.weight(op, np.ones(shape_of(x)[-1], np.float32), f"{op.tensor_name}.weight")
            gone = [mean, centred, square, average, total, root]
            graph.replace(op, LayerNorm, [x, ones, graph.none()], gone, axis=-1, epsilon=float(value.reshape(-1)[0]))
            return True
    return False


@pattern("Mul", "Add")
def fold_into_layer_norm(graph: Rewriter, op: TensorOp) -> bool:
    """A product or sum of a LayerNorm with a constant a feature goes into its scale and bias."""
    if len(op.operands) != 2 or _activated(op):
        return False
    for normed, constant in _both_ways(op.operands):
        norm, vector = only_read_here(normed, "LayerNorm"), graph.constant(constant)
        if norm is None or vector is None or vector.shape != shape_of(norm.operands[1]) or norm.statistics:  # type: ignore[attr-defined]
            continue
        operands = _folded(graph, op, norm, vector)
        if operands is not None:
            graph.replace(op, LayerNorm, [norm.operands[0], *operands], [norm], **norm.attribute_values())
            return True
    return False


def _folded(graph: Rewriter, op: TensorOp, norm: TensorOp, vector: np.ndarray) -> list[SSAValue] | None:
    """Return the new scale and bias, None where the old ones are not constant."""
    scale = graph.constant(norm.operands[1])
    absent = is_none(norm.operands[2])
    bias = np.zeros_like(vector) if absent else graph.constant(norm.operands[2])
    if scale is None or bias is None:
        return None
    name = op.tensor_name
    if op.name == "top.Add":
        return [norm.operands[1], graph.weight(op, bias + vector, f"{name}.bias")]
    scaled = graph.weight(op, scale * vector, f"{name}.weight")
    return [scaled, norm.operands[2] if absent else graph.weight(op, bias * vector, f"{name}.bias")]


def _is_gate(graph: Rewriter, op: TensorOp, x: SSAValue) -> bool:
    """Tell whether `op` is min(max(x + 3, 0), 6)."""
    clipped = op.do_relu and op.relu_limit == 6  # type: ignore[attr-defined]
    return clipped and any(a is x and _is_scalar(graph, b, 3) for a, b in _both_ways(op.operands))


def _square_of(value: SSAValue, x: SSAValue) -> TensorOp | None:
    """Return the op that makes x² for one reader, else None."""
    power, product = only_read_here(value, "PowScalar"), only_read_here(value, "Mul")
    if power is not None and power.operands[0] is x and power.exponent == 2:  # type: ignore[attr-defined]
        return power
    return product if product is not None and all(v is x for v in product.operands) else None


def _over_last(op: TensorOp) -> bool:
    """Tell whether a reduction is over the last dimension, which stays as 1."""
    rank = len(shape_of(op.operands[0]))
    return tuple(a % rank for a in op.axes) == (rank - 1,) and bool(op.keepdims)  # type: ignore[attr-defined]


def _is_scalar(graph: Rewriter, value: SSAValue, wanted: float) -> bool:
    array = graph.constant(value)
    return array is not None and array.size == 1 and abs(float(array.reshape(-1)[0]) - wanted) <= 1e-6 * abs(wanted)


def _activated(op: TensorOp) -> bool:
    return bool(getattr(op, "do_relu", False))


def _both_ways(operands: Sequence[SSAValue]) -> list[tuple[SSAValue, SSAValue]]:
    """Return two operands in both orders, nothing for another number of them."""
    return [(operands[0], operands[1]), (operands[1], operands[0])] if len(operands) == 2 else []
