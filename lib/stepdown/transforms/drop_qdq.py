"""drop-qdq: a program with Quantize and Dequantize ops becomes a float one, to be calibrated anew."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue
from xdsl.rewriter import Rewriter as Types

from stepdown.dialects.op import TensorOp, fused_of, is_internal, layouts_of, location, names_of
from stepdown.dialects.program import Program
from stepdown.dialects.text import verify
from stepdown.dialects.top.quantize import Dequantize, Quantize
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import is_float, shape_of, tensor
from stepdown.transforms.base import Pass
from stepdown.transforms.fold_qdq import stored_tensors
from stepdown.transforms.rewrite import Rewriter


@dataclass(frozen=True)
class DropQdq(Pass):
    """Take the real numbers of a quantised network: constants become float, casts to integers and back go."""

    def run(self, program: Program) -> None:
        """Rewrite the program; a network input of integers, and what has computed scales, stays."""
        graph, stored = Rewriter(program), stored_tensors(program)
        for op in program.ops:
            if isinstance(op, Dequantize):
                _drop_dequantize(graph, op)
            elif isinstance(op, Quantize) and op.results[0] in stored:
                _drop_quantize(graph, op)
            elif not isinstance(op, Input) and _moves_reals(op, stored):
                Types.replace_value_with_new_type(op.results[0], tensor(shape_of(op.results[0])))
        verify(program.module, program.path)


def _moves_reals(op: TensorOp, stored: Container[SSAValue]) -> bool:
    """Tell whether an op that moved integers has real numbers to move now."""
    return bool(op.results) and op.results[0] in stored and is_float(op.operands[0])


def _drop_quantize(graph: Rewriter, op: Quantize) -> None:
    """Drop it; an intermediate of the importer that it read takes its name."""
    maker = op.operands[0].owner
    if isinstance(maker, TensorOp) and is_internal(maker) and len(maker.results) == 1:
        maker.location = location(names_of(op), fused_of(maker), layouts=layouts_of(maker))
    graph.bypass(op, op.operands[0])


def _drop_dequantize(graph: Rewriter, op: Dequantize) -> None:
    source = op.operands[0]
    if isinstance(source.owner, Weight) and len(op.operands) == 1:
        stored = graph.program.weights[source.owner.key]
        graph.fold(op, [np.asarray(op.compute(stored)[0])])
    elif is_float(source):
        graph.bypass(op, source)
