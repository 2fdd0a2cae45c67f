"""Constants that keep their integers: what moves their real numbers moves the integers instead."""

from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.quantize import Dequantize
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import quant_of, tensor
from stepdown.numerics.quantize import QuantParams
from stepdown.transforms.rewrite import Rewriter, pattern


@pattern()
def move_stored_constant(graph: Rewriter, op: TensorOp) -> bool:
    """A move of a dequantised constant is a moved constant, dequantised."""
    if op.kind is not Kind.MOVE or len(op.operands) != 1 or len(op.results) != 1:
        return False
    source = op.operands[0].owner
    if not isinstance(source, Dequantize) or not isinstance(source.operands[0].owner, Weight):
        return False
    params = _moved(op, quant_of(source.operands[0]))
    if params is None or len(source.operands) != 1 or (isinstance(op, TopOp) and op.fills):
        return False
    weight = _weight(graph, op, source.operands[0].owner, params)
    graph.replace(op, Dequantize, [weight], [source], to=source.to)
    return True


def _moved(op: TensorOp, params: QuantParams | None) -> QuantParams | None:
    """Return the parameters of the moved integers, None where no type can say them."""
    if params is None or params.axis is None:
        return params
    return replace(params, axis=op.order.index(params.axis)) if isinstance(op, Transpose) else None


def _weight(graph: Rewriter, op: TensorOp, weight: Weight, params: QuantParams) -> SSAValue:
    array = np.ascontiguousarray(op.compute(graph.program.weights[weight.key])[0])
    key = graph.program.weights.free_key(f"{weight.key}_{op.name.removeprefix('top.').lower()}", array)
    graph.program.weights[key] = array
    made = Weight.of(key, tensor(array.shape, params))
    graph.program.block.insert_ops_before([made], op)
    return made.results[0]
