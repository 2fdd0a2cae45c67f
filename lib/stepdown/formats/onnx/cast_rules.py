"""Changes of the element type."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.cast import BitCast, Cast
from stepdown.dialects.types import DTYPES, storage_of_dtype
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


def storage_named(node: Node, wanted: int | str) -> str:
    """Return the storage name of an ONNX element type: its number, or its name as operator set 1 has it.

    Raises:
        UnsupportedModel: we do not store such elements (strings, complex numbers, 4 and 8-bit floats).
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
    if narrow := node.graph.narrow.get(node.value(1)):
        raise node.refuse(f"makes elements of type {narrow}")
    return _cast(node, node.storage(1))


@rule("BitCast")
def bit_cast(node: Node) -> SSAValue:
    """The same bits as another type of as many. Source: ONNX BitCast-26."""
    return node.emit(BitCast, node.value(0), source=node.storage(0), to=storage_named(node, node.attribute("to")))


def _cast(node: Node, to: str) -> SSAValue:
    """Emit a Cast; a tensor that has the type already is not copied."""
    return node.alias(node.value(0)) if node.storage(0) == to else node.emit(Cast, node.value(0), to=to)
