"""Writes elementwise TOP ops as ONNX nodes."""

from typing import Any

import numpy as np

from stepdown.dialects.types import DTYPES, FLOATS, storage_of
from stepdown.formats.onnx.exporter import ELEMENT_TYPES, WRITERS, Writer, Written, writer

# TOP ops that ONNX has under the same name, and the attributes that it calls the same.
SAME: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Exp", "Floor", "Log", "Neg",
        "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh", "Erf", "HardSwish", "Sigmoid", "Softplus",
        "Softsign", "IsNaN", "Mish", "Where", "Div", "Pow", "PRelu",
    ), ()),
    "BitShift": ("direction",),
    "Celu": ("alpha",),
    "Einsum": ("equation",),
    "Elu": ("alpha",),
    "Gelu": ("approximate",),
    "HardSigmoid": ("alpha", "beta"),
    "IsInf": ("detect_negative", "detect_positive"),
    "LeakyRelu": ("alpha",),
    "Selu": ("alpha", "gamma"),
    "Shrink": ("bias", "lambd"),
    "ThresholdedRelu": ("alpha",),
}  # fmt: skip


def plain(value: Any) -> Any:
    """Return an attribute as ONNX stores it: truth values are integers."""
    return int(value) if isinstance(value, bool) else value


def _same(op_type: str, attributes: tuple[str, ...]) -> Writer:
    def write(op: Written) -> None:
        op.emit(op_type, *op.inputs, **{name: plain(getattr(op.op, name)) for name in attributes})

    return write


WRITERS.update({name: _same(name, attributes) for name, attributes in SAME.items()})


@writer("Add", "Sub", "Mul", "Max", "Min")
def eltwise(op: Written) -> None:
    """Two operands; Add of more is Sum, Max and Min take any number."""
    name = type(op.op).__name__
    op.fused("Sum" if name == "Add" and len(op.inputs) > 2 else name, *op.inputs)


@writer("SquaredDifference")
def squared_difference(op: Written) -> None:
    """Sub, and Mul by itself."""
    difference = op.part("difference", "Sub", *op.inputs)
    op.emit("Mul", difference, difference)


@writer("Mod")
def modulo(op: Written) -> None:
    """Mod; with the sign of the divisor, which ONNX has for integers alone, the remainder of (remainder + divisor)."""
    if op.op.fmod or storage_of(op.op.operands[0]) not in FLOATS:
        op.emit("Mod", *op.inputs, fmod=int(op.op.fmod))
        return
    left, right = op.inputs
    remainder = op.part("remainder", "Mod", left, right, fmod=1)
    op.emit("Mod", op.part("raised", "Add", remainder, right), right, fmod=1)


@writer("Relu")
def relu(op: Written) -> None:
    """Relu, or Clip where it is limited."""
    op.relu(op.inputs[0], op.op.relu_limit)


@writer("Clip")
def clip(op: Written) -> None:
    """Clip with both bounds."""
    dtype = DTYPES[storage_of(op.op.results[0])]
    op.emit("Clip", op.inputs[0], op.constant("min", op.op.min, dtype), op.constant("max", op.op.max, dtype))


@writer("PowScalar")
def pow_scalar(op: Written) -> None:
    """Pow with a constant exponent."""
    op.emit("Pow", op.inputs[0], op.constant("exponent", op.op.exponent, np.float32))


@writer("Swish")
def swish(op: Written) -> None:
    """The input times the Sigmoid of alpha times it."""
    x = op.inputs[0]
    scaled = x if op.op.alpha == 1 else op.part("scaled", "Mul", x, op.constant("alpha", op.op.alpha, np.float32))
    op.emit("Mul", x, op.part("sigmoid", "Sigmoid", scaled))


@writer("Compare")
def compare(op: Written) -> None:
    """Equal, Greater and so on."""
    op.emit(op.op.mode, *op.inputs)


@writer("Bitwise")
def bitwise(op: Written) -> None:
    """And, Or, Xor; of integers BitwiseAnd and so on."""
    op.emit(op.op.mode if storage_of(op.op.operands[0]) == "i1" else f"Bitwise{op.op.mode}", *op.inputs)


@writer("Not")
def negation(op: Written) -> None:
    """Not, or BitwiseNot of integers."""
    op.emit("Not" if storage_of(op.op.operands[0]) == "i1" else "BitwiseNot", *op.inputs)


@writer("Cast")
def cast(op: Written) -> None:
    """Cast."""
    op.emit("Cast", *op.inputs, to=ELEMENT_TYPES[op.op.to])
