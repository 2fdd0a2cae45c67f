"""The places of the largest elements."""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.arithmetic import Sub
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.index import TopK
from stepdown.dialects.top.move import Concat, Reshape, Slice
from stepdown.dialects.types import shape_of
from stepdown.formats.caffe.node import Node
from stepdown.formats.caffe.rules import rule


@rule("ArgMax")
def arg_max(node: Node) -> SSAValue:
    """The places, as floats, or the values of the top_k largest elements along `axis`, or both of whole samples.

    Of equal elements the last comes first. Source: Caffe ArgMaxLayer.
    """
    param, shape = node.message.argmax_param, node.shape(0)
    if param.HasField("axis"):
        values, places = _largest(node, node.value(0), node.axis(param.axis))
        return _made(node, values if param.out_max_val else places, shape_of(values))
    flat = node.reshaped(node.value(0), (shape[0], math.prod(shape[1:])), "flat")
    values, places = _largest(node, flat, 1)
    result = [shape[0], 1 + param.out_max_val, param.top_k, *[1] * (len(shape) - 3)]
    both = node.part("both", Concat, places, values, axis=1) if param.out_max_val else places
    return _made(node, both, result)


def _largest(node: Node, value: SSAValue, axis: int) -> tuple[SSAValue, SSAValue]:
    """Return the values and places of the largest elements: TopK of the reversed operand takes the last first."""
    shape, top_k = shape_of(value), node.message.argmax_param.top_k
    if not 1 <= top_k <= shape[axis]:
        raise node.refuse(f"top_k {top_k} of {shape[axis]} elements")
    starts = [shape[i] - 1 if i == axis else 0 for i in range(len(shape))]
    ends = [-1 if i == axis else size for i, size in enumerate(shape)]
    steps = [-1 if i == axis else 1 for i in range(len(shape))]
    reversed_ = node.part("reversed", Slice, value, starts=starts, ends=ends, steps=steps)
    values, places = node.parts(("values", "behind"), TopK, reversed_, k=top_k, axis=axis)
    last = node.weight(np.array(shape[axis] - 1, np.float32), "last")
    return values, node.part("places", Sub, last, node.part("distances", Cast, places, to="f32"))


def _made(node: Node, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """Return `value` as the layer's output, in `shape`."""
    op: type[TopOp] = Reshape
    return node.emit(op, value, shape=shape)
