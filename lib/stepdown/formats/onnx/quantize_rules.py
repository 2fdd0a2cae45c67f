"""QuantizeLinear and DequantizeLinear, and what they are made of in every rule of a quantised operator."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.arithmetic import Add, Div, Max, Min, Sub
from stepdown.dialects.top.cast import Cast
from stepdown.dialects.top.elementary import Round
from stepdown.dialects.top.logic import Compare
from stepdown.dialects.top.quantize import STORED, Dequantize, Quantize
from stepdown.dialects.top.reduce import ReduceMax, ReduceMin
from stepdown.dialects.types import storage_of
from stepdown.formats.onnx.cast_rules import storage_named
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule
from stepdown.numerics.quantize import RANGES, QuantParams


@rule("QuantizeLinear", "com.microsoft.QuantizeLinear")
def quantize_linear(node: Node) -> SSAValue:
    """QuantizeLinear; its type is that of the zero point, or `output_dtype`, or u8. Source: ONNX QuantizeLinear-25."""
    wanted = node.attribute("output_dtype", 0)
    to = node.storage(2) if node.has(2) else storage_named(node, wanted) if wanted else "u8"
    if narrow := node.graph.narrow.get(node.value(2)):
        raise node.refuse(f"makes elements of type {narrow}")
    return quantized(node, node.given(0), node.given(1), node.value(2), to)


@rule("DequantizeLinear", "com.microsoft.DequantizeLinear")
def dequantize_linear(node: Node) -> SSAValue:
    """DequantizeLinear. A constant becomes float, or keeps its integers where the model quantises activations too.

    Source: ONNX DequantizeLinear-25.
    """
    if node.storage(0) not in STORED:
        raise node.refuse(f"takes elements of type {node.storage(0)}")
    axis, block = node.attribute("axis", 1), node.attribute("block_size", 0)
    wanted = node.attribute("output_dtype", 0)
    to = storage_named(node, wanted) if wanted else node.storage(1)
    params = None if block or to != "f32" else constant_params(node, 0, axis)
    if params and node.graph.keeps_integers:
        return _keep(node, node.name, 0, params)
    return node.emit(Dequantize, node.given(0), node.given(1), node.value(2), axis=axis, block_size=block, to=to)


def quantized(node: Node, real: SSAValue, scale: SSAValue, zero_point: SSAValue, to: str = "") -> SSAValue:
    """Emit the node's output: `real` quantised."""
    storage = to or storage_of(zero_point)
    if storage not in STORED:
        raise node.refuse(f"makes elements of type {storage}")
    axis, block = node.attribute("axis", 1), node.attribute("block_size", 0)
    if node.op_type != "QuantizeLinear":
        axis, block = -1, 0
    return node.emit(Quantize, real, scale, zero_point, to=storage, axis=axis, block_size=block)


def real_operand(node: Node, index: int, label: str, axis: int = -1) -> SSAValue:
    """Return operand `index` as real numbers; its scale and zero point are the two operands after it."""
    if params := constant_params(node, index, axis):
        return _keep(node, f"{node.name}/{label}", index, params, internal=True)
    return node.part(label, Dequantize, node.given(index), node.given(index + 1), node.value(index + 2), axis=axis)


def real_bias(node: Node, index: int, scale: SSAValue, label: str = "bias") -> SSAValue:
    """Return the int32 operand `index` as real numbers; one scale, or one an element."""
    if not node.has(index):
        return node.graph.none
    stored, scales = node.constant_or_none(index), node.graph.constant(scale)
    if stored is None or scales is None:
        return node.part(label, Dequantize, node.given(index), scale, axis=0)
    params = _params(scales, np.zeros((), np.int32), 0, "i32", stored.shape)
    if params is None:
        raise node.refuse(f"{scales.size} scales for a bias {stored.shape}")
    return _keep(node, f"{node.name}/{label}", index, params, internal=True)


def constant_params(node: Node, index: int, axis: int) -> QuantParams | None:
    """Return how constant operand `index` is stored, None where it is computed or no quantised type can say it."""
    stored, scale, zero_point = (node.constant_or_none(i) for i in (index, index + 1, index + 2))
    if stored is None or scale is None or (zero_point is None and node.has(index + 2)):
        return None
    zeros = np.zeros((), stored.dtype) if zero_point is None else zero_point
    return _params(scale, zeros, axis, node.storage(index), stored.shape)


def _params(
    scale: np.ndarray, zero_point: np.ndarray, axis: int, storage: str, shape: tuple[int, ...]
) -> QuantParams | None:
    first = int(zero_point.reshape(-1)[0]) if zero_point.size else 0
    if storage not in RANGES or (zero_point != first).any() or not _usable(scale):
        return None
    if scale.size == 1:
        return QuantParams(float(np.float32(scale.item())), first, storage)
    if scale.ndim != 1 or not -len(shape) <= axis < len(shape) or scale.size != shape[axis]:
        return None
    return QuantParams(tuple(float(np.float32(s)) for s in scale), first, storage, axis % len(shape))


def _usable(scale: np.ndarray) -> bool:
    return bool(np.isfinite(scale).all() and (scale > 0).all())


def _keep(node: Node, name: str, index: int, params: QuantParams, internal: bool = False) -> SSAValue:
    """Emit the real numbers of a constant that keeps its integers: not folded, as they would be lost."""
    stored = node.constant(index)
    weight = node.graph.weight(stored, node.inputs[index], params)
    return node.graph.program.add(Dequantize.build(name, [weight], internal))


@rule("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node) -> list[SSAValue]:
    """u8 by the range of the tensor, widened to hold 0. Source: ONNX DynamicQuantizeLinear-11."""
    x, zero = node.given(0), node.weight(np.array(0, np.float32), "zero")
    low = node.part("low", Min, node.part("least", ReduceMin, x, keepdims=False), zero)
    high = node.part("high", Max, node.part("largest", ReduceMax, x, keepdims=False), zero)
    step = node.part("step", Div, node.part("span", Sub, high, low), node.weight(np.array(255, np.float32), "steps"))
    flat = node.part("is_flat", Cast, node.part("flat", Compare, step, zero, mode="Equal"), to="f32")
    label = [node.tensor_name(n) if n else f"{node.name}/{i}" for i, n in enumerate(node.outputs)]
    scale = _named(node, label[1], Add, step, flat)
    offset = node.part("offset", Round, node.part("share", Div, node.part("below", Sub, zero, low), scale))
    zero_point = _named(node, label[2], Cast, offset, to="u8")
    y = _named(node, label[0], Quantize, x, scale, zero_point, to="u8")
    return [y, scale, zero_point]


def _named(node: Node, name: str, op: type, *operands: SSAValue, **attributes: object) -> SSAValue:
    return node.graph.program.add(op.build(name, operands, **attributes))  # type: ignore[attr-defined]
