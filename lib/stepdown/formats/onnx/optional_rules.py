"""Optional values that are tensors: whether they are there is known at import."""

import numpy as np
from xdsl.ir import SSAValue

from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule


@rule("OptionalHasElement")
def optional_has_element(node: Node) -> SSAValue:
    """Whether the operand is given, a constant. Source: ONNX OptionalHasElement-18."""
    return node.graph.weight(np.array(node.has(0)), node.name)


@rule("OptionalGetElement")
def optional_get_element(node: Node) -> SSAValue:
    """A tensor itself. Source: ONNX OptionalGetElement-18."""
    return node.alias(node.given(0))
