"""Comparisons, logical and bitwise functions of two tensors, and selection."""

from xdsl.ir import SSAValue

from stepdown.dialects.top import logic as top
from stepdown.formats.onnx.arithmetic_rules import operands
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule(*top.COMPARISONS)
def compare(node: Node) -> SSAValue:
    """Equal, Greater, …: the operator's name is the mode."""
    return node.emit(top.Compare, *operands(node), mode=node.op_type)


@rule(*top.BITWISE, *(f"Bitwise{mode}" for mode in top.BITWISE))
def bitwise(node: Node) -> SSAValue:
    """And, Or, Xor of truth values, and BitwiseAnd, … of integers."""
    return node.emit(top.Bitwise, *operands(node), mode=node.op_type.removeprefix("Bitwise"))


@rule("Where")
def where(node: Node) -> SSAValue:
    """Where."""
    return node.emit(top.Where, *node.values())
