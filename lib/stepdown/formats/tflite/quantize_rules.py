"""Where real numbers become stored integers, and back."""

from xdsl.ir import SSAValue

from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.quantize import Dequantize, Quantize
from stepdown.dialects.types import is_float, quant_of, storage_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import rule


@rule("QUANTIZE")
def quantize(node: Node) -> SSAValue:
    """Stored as the output says, from real numbers or from other integers; nothing in a network of real numbers."""
    params = node.params
    if params is None:
        return node.alias(node.given(0))
    return node.emit(Quantize, node.given(0), to=params.type)


@rule("DEQUANTIZE")
def dequantize(node: Node) -> SSAValue:
    """Real numbers; constants are dequantised here, float16 widened."""
    value = node.given(0)
    if quant_of(value):
        return node.emit(Dequantize, value)
    if is_float(value) and storage_of(value) != "f32":
        return node.emit(Cast, value, to="f32")
    return node.alias(value)
