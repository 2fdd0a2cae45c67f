"""One-to-one rows: elementwise functions of one tensor."""

from stepdown.dialects.top import activation as top
from stepdown.dialects.top.base import TopOp
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import RULES, Rule

# ONNX operator → TOP op, and ONNX attribute → (TOP attribute, ONNX default).
ROWS: dict[str, tuple[type[TopOp], dict[str, tuple[str, float]]]] = {
    "Relu": (top.Relu, {}),
    "Sigmoid": (top.Sigmoid, {}),
}


def _row(op: type[TopOp], attributes: dict[str, tuple[str, float]]) -> Rule:
    def import_unary(node: Node):  # type: ignore[no-untyped-def]
        given = {ours: node.attribute(theirs, default) for theirs, (ours, default) in attributes.items()}
        return node.emit(op, node.value(0), **given)

    return import_unary


RULES.update({onnx_op: _row(op, attributes) for onnx_op, (op, attributes) in ROWS.items()})
