"""Writes TOP ops whose ONNX operators are younger than the operator set that is written, as older ones."""

import numpy as np

from stepdown.dialects.types import DTYPES, shape_of, storage_of
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.exporter import Written, writer


def _dtype(op: Written) -> np.dtype:
    """Return the numpy type of the op's first operand as a constant."""
    kind = storage_of(op.op.operands[0])
    return np.dtype(np.float16) if kind == "f16" else DTYPES[kind]


@writer("RMSNorm")
def rms_norm(op: Written) -> None:
    """RMSNormalization, of version 23, as the quotient that it is."""
    x, scale = op.inputs
    axes = op.constant("axes", op.op.axes_of(len(shape_of(op.op.operands[0]))))
    mean = op.part("mean", "ReduceMean", op.part("square", "Mul", x, x), axes, keepdims=1)
    raised = op.part("raised", "Add", mean, op.constant("epsilon", op.op.epsilon, _dtype(op)))
    op.emit("Mul", op.part("normal", "Div", x, op.part("root", "Sqrt", raised)), scale)


@writer("CumProd")
def cumulative_product(op: Written) -> None:
    """CumProd, of version 26: for every place the product of all elements, those not yet reached replaced by 1."""
    shape = shape_of(op.op.operands[0])
    axis, rank = op.op.axis % len(shape), len(shape)
    places, elements = np.ogrid[: shape[axis], : shape[axis]]
    distance = elements - places if op.op.reverse else places - elements
    mask = (distance > 0 if op.op.exclusive else distance >= 0).reshape(
        shape[axis], shape[axis], *[1] * (rank - axis - 1)
    )
    rows = op.part("rows", "Unsqueeze", op.inputs[0], op.constant("new", [axis]))
    ones = op.constant("one", 1, _dtype(op))
    reached = op.part("reached", "Where", op.constant("mask", mask, np.bool_), rows, ones)
    op.emit("ReduceProd", reached, op.constant("axis", [axis + 1]), keepdims=0)


@writer("BitCast")
def bit_cast(op: Written) -> None:
    """BitCast, of version 26, which no older operators stand for."""
    raise UnsupportedModel("top.BitCast cannot be written in an operator set before 26", f"op '{op.name}'")
