"""Attributes and constants of ONNX files as Python values, and back."""

from typing import TYPE_CHECKING, Any

import numpy as np

from stepdown.errors import InputError

if TYPE_CHECKING:
    import onnx


def tensor_array(proto: "onnx.TensorProto") -> np.ndarray:
    """Return the array of a constant.

    Raises:
        InputError: its elements cannot be read.
    """
    from onnx import numpy_helper

    try:
        if min(proto.dims, default=0) < 0:
            raise ValueError(f"its shape is {list(proto.dims)}")
        return numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"cannot be read ({error})", f"initializer '{proto.name}'") from None


def attribute_value(proto: "onnx.AttributeProto") -> Any:
    """Return an attribute as a Python value; strings decoded, tensors as arrays, graphs as they are."""
    from onnx import AttributeProto, helper

    if proto.type == AttributeProto.TENSOR:
        return tensor_array(proto.t)
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
        return [v.decode("utf-8", "replace") for v in value]
    return list(value) if proto.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def attribute_proto(name: str, value: Any) -> "onnx.AttributeProto":
    """Return the attribute that holds a value of `attribute_value`; no list but a list of integers is empty."""
    from onnx import AttributeProto, helper, numpy_helper

    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    if isinstance(value, list) and not value:
        return helper.make_attribute(name, value, attr_type=AttributeProto.INTS)
    return helper.make_attribute(name, value)
