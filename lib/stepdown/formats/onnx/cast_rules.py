"""Changes of the element type, and quantised constants made float."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.cast import BitCast, Cast
from stepdown.dialects.types import DTYPES, storage_of_dtype
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import refuse, rule

QUANTISED = "the model is quantised already; give the float model it was made from"

refuse(QUANTISED, "DynamicQuantizeLinear", "QuantizeLinear")


def storage_named(node: Node, wanted: int | str) -> str:
    """Return the storage name of an ONNX element type: its number, or its name as operator set 1 has it.

    Raises:
        UnsupportedModel: we do not store such elements (strings, complex numbers, bfloat16, 4 and 8-bit floats).
    """
    from onnx import TensorProto, helper

    try:
        number = TensorProto.DataType.Value(wanted) if isinstance(wanted, str) else wanted
        return storage_of_dtype(helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError, TypeError):
        name = TensorProto.DataType.Name(wanted) if wanted in TensorProto.DataType.values() else wanted
        raise node.refuse(f"makes elements of type {name}") from None


def stored_dtype(storage: str) -> np.dtype:
    """Return the numpy type of a weight of a storage type."""
    return np.dtype(np.float16) if storage == "f16" else DTYPES[storage]


def dtype_named(node: Node, wanted: int | str) -> np.dtype:
    """Return the numpy type of a weight of an ONNX element type.

    Raises:
        UnsupportedModel: we do not store such elements.
    """
    return stored_dtype(storage_named(node, wanted))


@rule("Cast")
def cast(node: Node) -> SSAValue:
    """Cast. Source: ONNX Cast-25."""
    return _cast(node, storage_named(node, node.attribute("to")))


@rule("CastLike")
def cast_like(node: Node) -> SSAValue:
    """Cast to the type of the second operand. Source: ONNX CastLike-25."""
    return _cast(node, node.storage(1))


@rule("BitCast")
def bit_cast(node: Node) -> SSAValue:
    """The same bits as another type of as many. Source: ONNX BitCast-26."""
    return node.emit(BitCast, node.value(0), source=node.storage(0), to=storage_named(node, node.attribute("to")))


def _cast(node: Node, to: str) -> SSAValue:
    """Emit a Cast; a tensor that has the type already is not copied."""
    return node.alias(node.value(0)) if node.storage(0) == to else node.emit(Cast, node.value(0), to=to)


@rule("DequantizeLinear")
def dequantize_linear(node: Node) -> SSAValue:
    """(x − zero_point) × scale of a constant, by channel or block along `axis`. Source: ONNX DequantizeLinear-25."""
    x, scale = node.constant_or_none(0), node.constant(1)
    if x is None:
        raise node.refuse(f"operand 0 ('{node.inputs[0]}') is not constant: {QUANTISED}")
    zero_point = node.constant(2) if node.has(2) else np.zeros((), x.dtype)
    axis, block = node.attribute("axis", 1), node.attribute("block_size", 0)
    try:
        along = (_along(part, x, axis, block) for part in (zero_point, scale))
        difference = x.astype(np.int64) - next(along)
        return node.graph.weight((difference * next(along)).astype(_result_type(node, scale)), node.name)
    except (ValueError, IndexError):
        raise node.refuse(f"scale {scale.shape} does not fit {x.shape}, axis {axis}, block {block}") from None


def _result_type(node: Node, scale: np.ndarray) -> np.dtype:
    wanted = node.attribute("output_dtype", 0)
    return np.dtype({"f32": np.float32, "f16": np.float16}[storage_named(node, wanted)]) if wanted else scale.dtype


def _along(part: np.ndarray, x: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Return a scale or zero point (one, one a channel, one a block) so that it broadcasts to `x`."""
    part = part.astype(np.int64) if part.dtype.kind in "iu" else part.astype(np.float32)
    if block:
        return np.repeat(part, block, axis).take(range(x.shape[axis]), axis)
    if part.ndim == 0 or part.shape == (1,):
        return part.reshape(())
    shape = [1] * x.ndim
    shape[axis] = -1
    return np.broadcast_to(part.reshape(shape), x.shape)
