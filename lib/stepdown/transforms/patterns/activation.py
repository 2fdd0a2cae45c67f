"""Activations: ReLUs go into the op before them, products with a gate become one op."""

import math

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top.activation import HardSwish, Relu, Swish
from stepdown.dialects.top.base import Fused
from stepdown.dialects.types import is_float
from stepdown.transforms.rewrite import Rewriter, only_read_here, pattern


@pattern("Clip")
def clip_to_relu(graph: Rewriter, op: TensorOp) -> bool:
    """Clip(0, limit) is a Relu."""
    low, high = op.min, op.max  # type: ignore[attr-defined]
    if low != 0 or not high >= 0 or not is_float(op.operands[0]):
        return False
    graph.replace(op, Relu, op.operands, **({} if math.isinf(high) else {"relu_limit": high}))
    return True


@pattern("Relu")
def fuse_relu(graph: Rewriter, op: TensorOp) -> bool:
    """Fuse a Relu into the op that makes its operand for it alone."""
    source = op.operands[0]
    target = source.owner
    if not isinstance(target, Fused) or target.name.split(".")[0] != "top" or target.do_relu:
        return False
    if not source.has_one_use() or not is_float(source):
        return False
    activation = {"do_relu": True, "relu_limit": op.relu_limit}  # type: ignore[attr-defined]
    graph.replace(op, type(target), target.operands, [target], **{**target.attribute_values(), **activation})
    return True


@pattern("Mul")
def fuse_gate(graph: Rewriter, op: TensorOp) -> bool:
    """The product x · sigmoid(x) is Swish, and x · HardSigmoid(x) with slope 1/6 is HardSwish."""
    if len(op.operands) != 2 or op.do_relu:  # type: ignore[attr-defined]
        return False
    for x, gate in (op.operands, tuple(reversed(op.operands))):
        sigmoid, hard = only_read_here(gate, "Sigmoid"), only_read_here(gate, "HardSigmoid")
        if sigmoid and sigmoid.operands[0] is x:
            graph.replace(op, Swish, [x], [sigmoid])
            return True
        if hard and hard.operands[0] is x and abs(hard.alpha - 1 / 6) < 1e-6 and hard.beta == 0.5:  # type: ignore[attr-defined]
            graph.replace(op, HardSwish, [x], [hard])
            return True
    return False
