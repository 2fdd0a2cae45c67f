"""Constants that keep their integers: what moves their real numbers moves the integers instead. Tables of bytes."""

from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import Kind, TensorOp
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.quantize import BYTES, Dequantize, Lookup
from stepdown.dialects.top.source import Weight
from stepdown.dialects.types import quant_of, storage_of, tensor
from stepdown.numerics.quantize import RANGES, QuantParams
from stepdown.transforms.rewrite import Rewriter, only_read_here, pattern


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
    array = np.asarray(op.compute(graph.program.weights[weight.key])[0], order="C")
    key = graph.program.weights.free_key(f"{weight.key}_{op.name.removeprefix('top.').lower()}", array)
    graph.program.weights[key] = array
    made = Weight.of(key, tensor(array.shape, params))
    graph.program.block.insert_ops_before([made], op)
    return made.results[0]


@pattern("Gather")
def gather_to_lookup(graph: Rewriter, op: TensorOp) -> bool:
    """An element of 256 constants, chosen by a byte less the least byte, is a lookup in a table."""
    table, index = graph.constant(op.operands[0]), op.operands[1]
    if table is None or table.shape != (256,) or op.axis % table.ndim:  # type: ignore[attr-defined]
        return False
    shifted = only_read_here(index, "Sub")
    least = 0 if shifted is None else graph.constant(shifted.operands[1])
    cast = only_read_here(index if shifted is None else shifted.operands[0], "Cast")
    if cast is None or least is None or np.size(least) != 1 or storage_of(cast.operands[0]) not in BYTES:
        return False
    if RANGES[storage_of(cast.operands[0])][0] != int(np.asarray(least).item()):
        return False
    steps = [cast] if shifted is None else [cast, shifted]
    graph.replace(op, Lookup, [cast.operands[0], op.operands[0]], steps)
    return True
