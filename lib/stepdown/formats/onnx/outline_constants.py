"""Stored tensors of an ONNX model as constants of an outline."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from stepdown.errors import InputError
from stepdown.formats.outline import Constant

if TYPE_CHECKING:
    import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")
_TYPES = {"FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "BOOL": "i1", "UNDEFINED": "?"}
_CONSTANT_FIELDS = ("value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings")


def type_name(number: int) -> str:
    """Return our name of an ONNX element type: f32, i8, u4, float8e4m3fn."""
    import onnx

    try:
        name = onnx.TensorProto.DataType.Name(number)
    except ValueError:
        return "?"
    return _TYPES.get(name) or name.replace("UINT", "u").replace("INT", "i").lower()


def tensor_constant(proto: "onnx.TensorProto") -> Constant:
    """Return a stored tensor; its values are decoded when asked for."""
    return Constant(proto.name, tuple(proto.dims), type_name(proto.data_type), load=_loader(proto))


def _loader(proto: "onnx.TensorProto") -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        from onnx import numpy_helper

        try:
            return numpy_helper.to_array(proto)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"its values cannot be read ({error})", f"tensor '{proto.name}'") from error

    return load


def sparse_constant(proto: "onnx.SparseTensorProto") -> Constant:
    """Return a sparse tensor: its raw bytes are those of the values and of their places."""
    parts = [tensor_constant(proto.values), tensor_constant(proto.indices)]
    return Constant(
        proto.values.name, tuple(proto.dims), parts[0].type,
        load=lambda: np.frombuffer(b"".join(part.raw for part in parts), np.uint8),
    )  # fmt: skip


def constant_of_node(proto: "onnx.NodeProto") -> Constant | None:
    """Return what a Constant node holds, None for any other node."""
    import onnx

    held = proto.attribute[0] if proto.op_type == "Constant" and proto.attribute and proto.output else None
    if held is None or proto.domain not in DEFAULT_DOMAINS or held.name not in _CONSTANT_FIELDS:
        return None
    value = onnx.helper.get_attribute_value(held)
    if isinstance(value, onnx.TensorProto):
        made = tensor_constant(value)
    else:
        kinds = {"float": np.float32, "int": np.int64}
        array = np.array(value, kinds.get(held.name.removeprefix("value_").rstrip("s"), object))
        made = tensor_constant(onnx.numpy_helper.from_array(array))
    made.name = proto.output[0]
    return made
