"""Attributes of ONNX nodes as plain values, with the defaults of those that are left out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepdown.formats.outline import Constant, Value

if TYPE_CHECKING:
    import onnx

# Operators whose strides, dilations and pads are ones and zeros where they are left out.
_WINDOWS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool")


def with_defaults(
    proto: "onnx.NodeProto",
    given: dict[str, Any],
    schema: "onnx.defs.OpSchema | None",
    operands: tuple[Value | None, ...],
) -> dict[str, Any]:
    """Return the attributes with those that are left out, sorted by name."""
    import onnx

    if schema is None:
        return dict(sorted(given.items()))
    stated = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.type}
    filled = {name: plain_attribute(onnx.helper.get_attribute_value(value)) for name, value in stated.items()}
    filled.update(given)
    if proto.op_type in _WINDOWS:
        filled = {**_window_defaults(schema, filled, operands), **filled}
    return dict(sorted(filled.items()))


def _window_defaults(
    schema: "onnx.defs.OpSchema", given: Mapping[str, Any], operands: tuple[Value | None, ...]
) -> dict[str, Any]:
    weight = next((v for v in operands[1:] if isinstance(v, Constant) and v.shape and len(v.shape) > 2), None)
    kernel = given.get("kernel_shape") or (weight.shape[2:] if weight and weight.shape else ())
    n = len(kernel)
    found: dict[str, Any] = {"kernel_shape": tuple(kernel), "strides": (1,) * n, "dilations": (1,) * n}
    if given.get("auto_pad", "NOTSET") == "NOTSET":
        found["pads"] = (0,) * (2 * n)
    return {name: value for name, value in found.items() if n and name in schema.attributes}


def attribute_parts(name: str, held: Any) -> "list[tuple[str, onnx.TensorProto | onnx.GraphProto]]":
    """Return the tensors and bodies of an attribute, each with its place."""
    import onnx

    kinds = (onnx.TensorProto, onnx.GraphProto)
    if isinstance(held, kinds):
        return [(name, held)]
    items = list(held) if not isinstance(held, str | bytes | int | float) and hasattr(held, "__iter__") else []
    return [(f"{name}[{i}]", item) for i, item in enumerate(items) if isinstance(item, kinds)]


def plain_attribute(held: Any) -> Any:
    """Return an attribute as a Python value: text for bytes, a tuple for a list, a message in its bytes."""
    if isinstance(held, bytes):
        return held.decode(errors="backslashreplace")
    if isinstance(held, str | int | float):
        return held
    if hasattr(held, "SerializeToString"):
        return held.SerializeToString(deterministic=True).hex()
    return tuple(plain_attribute(item) for item in held)


def port_names_of(schema: "onnx.defs.OpSchema | None") -> dict[str, str]:
    """Return the names of the operands by their places; a variadic one has none."""
    formal = schema.inputs if schema else ()
    return {str(i): f.name for i, f in enumerate(formal) if f.option.name != "Variadic"}
