"""Writes TOP ops with weights or windows, norms and reductions as ONNX nodes."""

import numpy as np

from stepdown.dialects.types import shape_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.elementwise_writers import plain
from stepdown.formats.onnx.exporter import Written, writer

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


@writer("Conv", "ConvTranspose")
def window(op: Written) -> None:
    """Conv, ConvTranspose."""
    top, name = op.op, type(op.op).__name__
    attributes = {n: getattr(top, n) for n in ("strides", "pads", "dilations", "group")}
    attributes["kernel_shape"] = shape_of(top.operands[1])[2:]
    if name == "ConvTranspose":
        attributes["output_padding"] = top.output_padding
    op.fused(name, *(op.inputs if op.inputs[2] else op.inputs[:2]), **attributes)


@writer("MatMul")
def matmul(op: Written) -> None:
    """Gemm where both sides are matrices and there is a bias, else MatMul, Transpose and Add."""
    left, right, bias = op.inputs
    ranks = [len(shape_of(v)) for v in op.op.operands[:2]]
    if bias and ranks == [2, 2]:
        op.fused("Gemm", left, right, bias, transB=int(op.op.right_transpose))
        return
    if op.op.right_transpose:
        order = [*range(ranks[1] - 2), ranks[1] - 1, ranks[1] - 2]
        right = op.part("transposed", "Transpose", right, perm=order)
    if bias:
        op.fused("Add", op.part("product", "MatMul", left, right), bias)
    else:
        op.fused("MatMul", left, right)


@writer("MaxPool", "AveragePool", "LpPool")
def pool(op: Written) -> None:
    """MaxPool, AveragePool, LpPool."""
    own = {"MaxPool": (), "AveragePool": ("count_include_pad",), "LpPool": ("p",)}[type(op.op).__name__]
    names = ("kernel_shape", "strides", "pads", "dilations", "ceil_mode", *own)
    op.emit(type(op.op).__name__, op.inputs[0], **{n: plain(getattr(op.op, n)) for n in names})


@writer(*REDUCTIONS)
def reduction(op: Written) -> None:
    """Reduce…; no axes means all of them."""
    axes = [op.constant("axes", op.op.axes)] if op.op.axes else []
    op.emit(type(op.op).__name__, op.inputs[0], *axes, keepdims=int(op.op.keepdims))


@writer("Softmax", "LogSoftmax", "Hardmax")
def distribution(op: Written) -> None:
    """Softmax, LogSoftmax, Hardmax; along several dimensions together between two Reshapes."""
    name, shape = type(op.op).__name__, shape_of(op.op.operands[0])
    if not op.op.flat:
        op.emit(name, op.inputs[0], axis=op.op.axis)
        return
    rows = [*shape[: op.op.axis % len(shape)], int(np.prod(shape[op.op.axis % len(shape) :]))]
    flat = op.part("flat", "Reshape", op.inputs[0], op.constant("rows", rows), allowzero=1)
    op.emit("Reshape", op.part("rows_of", name, flat, axis=-1), op.constant("shape", shape), allowzero=1)


@writer("BatchNorm")
def batch_norm(op: Written) -> None:
    """BatchNormalization."""
    op.emit("BatchNormalization", *op.inputs, epsilon=op.op.epsilon)


@writer("Scale")
def scale(op: Written) -> None:
    """Mul and Add of values a channel."""
    spread = op.constant("spread", [-1, *[1] * (len(shape_of(op.op.operands[0])) - 2)])
    factor, addend = (
        op.part(label, "Reshape", name, spread) for label, name in zip(("factor", "addend"), op.inputs[1:], strict=True)
    )
    op.emit("Add", op.part("scaled", "Mul", op.inputs[0], factor), addend)


@writer("GroupNorm")
def group_norm(op: Written) -> None:
    """GroupNormalization."""
    op.emit("GroupNormalization", *op.inputs, epsilon=op.op.epsilon, num_groups=op.op.num_groups)


@writer("LayerNorm")
def layer_norm(op: Written) -> None:
    """LayerNormalization; mean and inverse deviation are its further results."""
    given = op.inputs if op.inputs[-1] else op.inputs[:2]
    op.emit("LayerNormalization", *given, axis=op.op.axis, epsilon=op.op.epsilon)


@writer("LRN")
def local_response_norm(op: Written) -> None:
    """LRN; ONNX wants an odd size only by custom."""
    op.emit("LRN", op.inputs[0], **{n: getattr(op.op, n) for n in ("size", "alpha", "beta", "bias")})


@writer("LpNorm")
def lp_norm(op: Written) -> None:
    """LpNormalization."""
    op.emit("LpNormalization", op.inputs[0], axis=op.op.axis, p=op.op.p)


@writer("MeanVarianceNorm")
def mean_variance_norm(op: Written) -> None:
    """MeanVarianceNormalization."""
    if len(shape_of(op.op.operands[0])) < 2:
        raise UnsupportedModel("MeanVarianceNorm of one dimension cannot be written as ONNX", op.name)
    op.emit("MeanVarianceNormalization", op.inputs[0], axes=op.op.axes)
