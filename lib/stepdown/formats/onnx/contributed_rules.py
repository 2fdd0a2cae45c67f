"""Operators of onnxruntime's own domain that its transformer optimiser leaves in float models.

Source: onnxruntime, docs/ContribOperators.md.
"""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.top.activation import Gelu, Swish
from stepdown.dialects.top.arithmetic import Add, Mul
from stepdown.dialects.top.mac import MatMul
from stepdown.dialects.top.move import Transpose
from stepdown.dialects.top.normalization import LayerNorm, RMSNorm
from stepdown.dialects.types import shape_of
from stepdown.formats.onnx.cast_rules import stored_dtype
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("com.microsoft.Gelu", "com.microsoft.BiasGelu", "com.microsoft.FastGelu")
def gelu(node: Node) -> SSAValue:
    """Gelu(x + bias); FastGelu is the approximation by tanh."""
    value = node.given(0)
    if node.has(1):
        value = node.part("biased", Add, value, node.given(1))
    return node.emit(Gelu, value, approximate="tanh" if node.op_type == "FastGelu" else "none")


@rule("com.microsoft.QuickGelu")
def quick_gelu(node: Node) -> SSAValue:
    """Swish: x · sigmoid(alpha · x)."""
    return node.emit(Swish, node.given(0), alpha=float(node.attribute("alpha", 1.702)))


@rule("com.microsoft.FusedMatMul")
def fused_matmul(node: Node) -> SSAValue:
    """The product alpha · A' × B', each side's last two dimensions transposed first where transA, transB say so."""
    if node.attribute("transBatchA", 0) or node.attribute("transBatchB", 0):
        raise node.refuse("transposes batches")
    left, alpha = node.given(0), float(node.attribute("alpha", 1.0))
    if node.attribute("transA", 0):
        left = node.part("left", Transpose, left, order=_swapped(len(shape_of(left))))
    operands = (left, node.given(1), node.graph.none)
    transposed = bool(node.attribute("transB", 0))
    if alpha == 1.0:
        return node.emit(MatMul, *operands, right_transpose=transposed)
    product = node.part("product", MatMul, *operands, right_transpose=transposed)
    return node.emit(Mul, product, node.weight(np.array(alpha, stored_dtype(node.storage(0))), "alpha"))


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


@rule("com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization")
def skip_layer_norm(node: Node) -> list[SSAValue]:
    """Operands: input, skip, gamma, [beta,] bias: the norm of input + skip + bias; the fourth output is that sum."""
    simplified = node.op_type.startswith("SkipSimplified")
    if any(node.outputs[1:3]):
        raise node.refuse("gives its statistics")
    summed = [node.given(0), node.given(1)]
    bias = 3 if simplified else 4
    if node.has(bias):
        summed.append(node.given(bias))
    shown = len(node.outputs) > 3 and bool(node.outputs[3])
    total = node.output(3, Add, *summed) if shown else node.part("sum", Add, *summed)
    epsilon, axis = float(node.attribute("epsilon", 1e-12)), len(shape_of(total)) - 1
    if simplified:
        made = node.emit(RMSNorm, total, node.given(2), epsilon=epsilon, axis=axis)
    else:
        made = node.output(0, LayerNorm, total, node.given(2), node.value(3), epsilon=epsilon, axis=axis)
    return [made, node.graph.none, node.graph.none, total][: len(node.outputs)]
