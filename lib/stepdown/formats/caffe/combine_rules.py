"""Layers that combine several blobs, and reductions of one."""

from xdsl.ir import SSAValue

from stepdown.dialects.top import reduce as reductions
from stepdown.dialects.top.arithmetic import Add, Max, Mul, Sub
from stepdown.dialects.top.base import TopOp
from stepdown.dialects.top.move import Concat
from stepdown.dialects.top.softmax import Softmax
from stepdown.dialects.types import shape_of
from stepdown.formats.caffe.node import Node, Step
from stepdown.formats.caffe.rules import rule

REDUCTIONS: dict[int, type[TopOp]] = {
    1: reductions.ReduceSum,
    2: reductions.ReduceL1,
    3: reductions.ReduceSumSquare,
    4: reductions.ReduceMean,
}


@rule("Eltwise")
def eltwise(node: Node) -> SSAValue:
    """Products, weighted sums or maxima of blobs of one shape. Source: Caffe EltwiseLayer."""
    param, values = node.message.eltwise_param, node.values()
    if len(values) < 2 or len({shape_of(value) for value in values}) > 1:
        raise node.refuse(f"wants two or more blobs of one shape, has {[shape_of(value) for value in values]}")
    if param.operation == 0:
        return node.chain(values[0], [Step(f"product{i}", Mul, [value]) for i, value in enumerate(values[1:])])
    if param.operation == 2:
        return node.emit(Max, *values)
    coefficients = list(param.coeff) or [1.0] * len(values)
    if len(coefficients) != len(values):
        raise node.refuse(f"{len(coefficients)} coefficients for {len(values)} blobs")
    if coefficients == [1.0, -1.0]:
        return node.emit(Sub, *values)
    return node.emit(Add, *(_times(node, *pair) for pair in enumerate(zip(values, coefficients, strict=True))))


def _times(node: Node, number: int, factor: tuple[SSAValue, float]) -> SSAValue:
    value, coefficient = factor
    if coefficient == 1:
        return value
    return node.part(f"scaled{number}", Mul, value, node.scalar(coefficient, f"coeff{number}"))


@rule("Axpy")
def axpy(node: Node) -> SSAValue:
    """a[N, C] · x[N, C, H, W] + y. Source: the Axpy layer of squeeze-and-excitation networks."""
    shape = node.shape(1)
    factor = node.reshaped(node.value(0), (*shape[:2], *[1] * (len(shape) - 2)), "aligned")
    return node.emit(Add, node.part("scaled", Mul, node.value(1), factor), node.value(2))


@rule("Concat")
def concat(node: Node) -> SSAValue:
    """The blobs one after the other along `axis`. Source: Caffe ConcatLayer."""
    param = node.message.concat_param
    axis = node.axis(param.concat_dim if param.HasField("concat_dim") else param.axis)
    if len(node.inputs) == 1:
        return node.alias(node.value(0))
    return node.emit(Concat, *node.values(), axis=axis)


@rule("Softmax")
def softmax(node: Node) -> SSAValue:
    """Softmax along `axis`."""
    return node.emit(Softmax, node.value(0), axis=node.axis(node.message.softmax_param.axis))


@rule("Reduction")
def reduction(node: Node) -> SSAValue:
    """A sum, mean and so on over all dimensions from `axis` on, times coeff. Source: Caffe ReductionLayer."""
    param = node.message.reduction_param
    axes = list(range(node.axis(param.axis), len(node.shape(0))))
    last = [] if param.coeff == 1 else [Step("scaled", Mul, [node.scalar(param.coeff, "coeff")])]
    return node.chain(
        node.value(0), [Step("reduced", REDUCTIONS[param.operation], (), {"axes": axes, "keepdims": False}), *last]
    )
