"""Tensor types of the IR and their plain Python side.

A storage name is one of f32, f16, bf16, f64, i1, i8, u8, i16, u16, i32, u32, i64, u64.
"""

import math
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    NoneType,
    Signedness,
    TensorType,
)
from xdsl.ir import Attribute, SSAValue

from stepdown.dialects.quant import CalibratedType, Range, UniformType
from stepdown.numerics.quantize import QuantParams

Shape = tuple[int, ...]

MAX_RANK = 64
MAX_ELEMENTS = 1 << 31
"""8 GiB of float32: a few bytes of a model must not ask a later tool for more."""

NONE = NoneType()
ELEMENTS: dict[str, Attribute] = {
    "f32": Float32Type(),
    "f16": Float16Type(),
    "bf16": BFloat16Type(),
    "f64": Float64Type(),
    "i1": IntegerType(1),
    "i8": IntegerType(8),
    "u8": IntegerType(8, Signedness.UNSIGNED),
    "i16": IntegerType(16),
    "u16": IntegerType(16, Signedness.UNSIGNED),
    "i32": IntegerType(32),
    "u32": IntegerType(32, Signedness.UNSIGNED),
    "i64": IntegerType(64),
    "u64": IntegerType(64, Signedness.UNSIGNED),
}
_NAMES = {element: name for name, element in ELEMENTS.items()}
FLOATS = ("f32", "f16", "bf16", "f64")
# How a stored tensor lies in a numpy array; the 16-bit floats are held as float32 values they can represent.
DTYPES: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float32),
    "bf16": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i1": np.dtype(np.bool_),
    **{f"{k}{b}": np.dtype(f"{'u' * (k == 'u')}int{b}") for k in "iu" for b in (8, 16, 32, 64)},
}


def tensor(shape: Sequence[int], element: str | QuantParams | Range = "f32") -> TensorType:
    """Return the tensor type of `shape` with a storage name, quantised parameters or a calibrated range."""
    if isinstance(element, QuantParams):
        return TensorType(UniformType(element), shape)
    if isinstance(element, Range):
        return TensorType(CalibratedType(element), shape)
    return TensorType(ELEMENTS[element], shape)


def shape_problem(shape: Sequence[int]) -> str:
    """Return why no tensor of a program has this shape, '' where one may."""
    if len(shape) > MAX_RANK:
        return f"a tensor has {len(shape)} dimensions, the most is {MAX_RANK}"
    if min(shape, default=0) < 0:
        return f"a tensor has the negative size {min(shape)}"
    if math.prod(shape) > MAX_ELEMENTS:
        return f"a tensor of shape {tuple(shape)} has more than {MAX_ELEMENTS} elements"
    return ""


def shape_of(value: SSAValue | Attribute) -> Shape:
    """Return the shape of a tensor value or type."""
    kind = value.type if isinstance(value, SSAValue) else value
    assert isinstance(kind, TensorType)
    return kind.get_shape()


def storage_of(value: SSAValue | Attribute) -> str:
    """Return the storage name of a tensor value or type: i8 for a quantised one, f32 for a calibrated one."""
    kind = value.type if isinstance(value, SSAValue) else value
    assert isinstance(kind, TensorType)
    element = kind.element_type
    if isinstance(element, UniformType):
        return element.data.type
    return "f32" if isinstance(element, CalibratedType) else _NAMES[element]


def quant_of(value: SSAValue | Attribute) -> QuantParams | None:
    """Return the quantised parameters of a value or type, None where it has none."""
    kind = value.type if isinstance(value, SSAValue) else value
    element = kind.element_type if isinstance(kind, TensorType) else None
    return element.data if isinstance(element, UniformType) else None


def range_of(value: SSAValue) -> Range | None:
    """Return the calibrated range of a value, None where it has none."""
    element = value.type.element_type if isinstance(value.type, TensorType) else None
    return element.data if isinstance(element, CalibratedType) else None


def is_none(value: SSAValue) -> bool:
    """Tell whether `value` stands for an absent optional operand."""
    return isinstance(value.type, NoneType)


def is_float(value: SSAValue | Attribute) -> bool:
    """Tell whether a value or type is stored as floating point."""
    return storage_of(value) in FLOATS


def is_real(value: SSAValue | Attribute) -> bool:
    """Tell whether a value or type stands for real numbers: floating point, or quantised."""
    return quant_of(value) is not None or is_float(value)


def storage_of_dtype(dtype: np.dtype) -> str:
    """Return the storage name of a numpy dtype.

    Raises:
        KeyError: the dtype has none (strings, complex numbers, …).
    """
    if dtype == np.float16 or np.dtype(dtype).name == "bfloat16":  # the latter is a type that others add to numpy
        return "f16" if dtype == np.float16 else "bf16"
    return {d: name for name, d in DTYPES.items() if name not in ("f16", "bf16")}[np.dtype(dtype)]
