"""drop-qdq: a program with Quantize and Dequantize ops becomes a float one, to be calibrated anew."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue
from xdsl.rewriter import Rewriter as Types

from stepdown.dialects.op import Kind, TensorOp, fused_of, is_internal, layouts_of, location, names_of
from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.base import Fused, TopOp
from stepdown.dialects.top.quantize import Dequantize, Quantize
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import is_float, shape_of, tensor
from stepdown.numerics.quantize import QuantParams
from stepdown.transforms.base import Pass
from stepdown.transforms.lowering.stored import stored_tensors
from stepdown.transforms.rewrite import Rewriter


@dataclass(frozen=True)
class DropQdq(Pass):
    """Take the real numbers of a quantised network: constants become float, casts to integers and back go."""

    def run(self, program: Program) -> None:
        """Rewrite the program; a network input of integers, and what has computed scales, stays."""
        graph, stored = Rewriter(program), stored_tensors(program, tables=False)
        for op in program.ops:
            if isinstance(op, Dequantize):
                _drop_dequantize(graph, op)
            elif isinstance(op, Quantize) and op.results[0] in stored:
                _drop_quantize(graph, op, stored[op.results[0]])
            elif not isinstance(op, Input) and _moves_reals(op, stored):
                Types.replace_value_with_new_type(op.results[0], tensor(shape_of(op.results[0])))
        graph.note_names()
        program.finish(list(program.results))
        verify(program.module, program.path)


def _moves_reals(op: TensorOp, stored: Container[SSAValue]) -> bool:
    """Tell whether an op that moved integers has real numbers to move now."""
    return bool(op.results) and op.results[0] in stored and is_float(op.operands[0])


def _drop_quantize(graph: Rewriter, op: Quantize, params: QuantParams) -> None:
    """Drop it; an intermediate of the importer that it read takes its name.

    Quantisers leave a ReLU out where the integers hold nothing below 0 anyway: then it is put back, with their largest
    number as its limit, for that may have been a limited one.
    """
    source = op.operands[0]
    if params.zero_point == params.bounds[0] and _may_be_negative(source):
        limit = (params.bounds[1] - params.zero_point) * float(params.scale)  # type: ignore[arg-type]
        made = graph.replace(op, Relu, [source], relu_limit=limit)
        Types.replace_value_with_new_type(made.results[0], tensor(shape_of(source)))
        return
    maker = source.owner
    if isinstance(maker, TensorOp) and is_internal(maker) and len(maker.results) == 1:
        maker.location = location(names_of(op), fused_of(maker), layouts=layouts_of(maker))
    graph.bypass(op, source)


def _may_be_negative(value: SSAValue) -> bool:
    """Tell whether a tensor is computed by an op after which a ReLU would do something."""
    op = value.owner
    if not isinstance(op, TopOp) or op.kind in (Kind.MOVE, Kind.POOL, Kind.SOURCE):
        return False
    return not (isinstance(op, Relu) or op.probability or (isinstance(op, Fused) and op.do_relu))


def _drop_dequantize(graph: Rewriter, op: Dequantize) -> None:
    source = op.operands[0]
    if isinstance(source.owner, Weight) and len(op.operands) == 1:
        stored = graph.program.weights[source.owner.key]
        graph.fold(op, [np.asarray(op.compute(stored)[0])])
    elif is_float(source):
        graph.bypass(op, source)
