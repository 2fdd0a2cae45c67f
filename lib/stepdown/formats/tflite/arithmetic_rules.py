"""Elementwise functions of two or more tensors, broadcast."""

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepdown.dialects.op import TensorOp
from stepdown.dialects.top import arithmetic as top
from stepdown.dialects.top import logic
from stepdown.dialects.top.elementary import Floor
from stepdown.dialects.top.move import Reshape
from stepdown.dialects.types import DTYPES, storage_of
from stepdown.formats.tflite.node import Node
from stepdown.formats.tflite.rules import RULES, rule

FUSING: dict[str, type[TensorOp]] = {"ADD": top.Add, "SUB": top.Sub, "MUL": top.Mul}
"""Binary operators whose TOP op takes over a ReLU."""

PLAIN: dict[str, tuple[type[TensorOp], dict[str, Any]]] = {
    "DIV": (top.Div, {}),
    "MAXIMUM": (top.Max, {}),
    "MINIMUM": (top.Min, {}),
    "POW": (top.Pow, {}),
    "EQUAL": (logic.Compare, {"mode": "Equal"}),
    "GREATER": (logic.Compare, {"mode": "Greater"}),
    "GREATER_EQUAL": (logic.Compare, {"mode": "GreaterOrEqual"}),
    "LESS": (logic.Compare, {"mode": "Less"}),
    "LESS_EQUAL": (logic.Compare, {"mode": "LessOrEqual"}),
    "LOGICAL_AND": (logic.Bitwise, {"mode": "And"}),
    "LOGICAL_OR": (logic.Bitwise, {"mode": "Or"}),
    "BITWISE_XOR": (logic.Bitwise, {"mode": "Xor"}),
    "FLOOR_MOD": (top.Mod, {}),
}
"""Binary operators that are one TOP op."""


def _fusing(op: type[TensorOp]) -> Any:
    def binary(node: Node) -> SSAValue:
        return node.fusing(op, node.given(0), node.given(1))

    return binary


def _plain(op: type[TensorOp], attributes: dict[str, Any]) -> Any:
    def binary(node: Node) -> SSAValue:
        return node.activated(op, node.given(0), node.given(1), **attributes)

    return binary


RULES.update({op_type: _fusing(op) for op_type, op in FUSING.items()})
RULES.update({op_type: _plain(op, attributes) for op_type, (op, attributes) in PLAIN.items()})


@rule("ADD_N")
def add_n(node: Node) -> SSAValue:
    """The sum of all operands."""
    return node.emit(top.Add, *node.values())


@rule("SQUARED_DIFFERENCE")
def squared_difference(node: Node) -> SSAValue:
    """(a − b)²."""
    if node.params:
        return node.emit(top.SquaredDifference, node.given(0), node.given(1))
    difference = node.part("difference", top.Sub, node.given(0), node.given(1))
    return node.emit(top.Mul, difference, difference)


@rule("FLOOR_DIV")
def floor_div(node: Node) -> SSAValue:
    """⌊a / b⌋."""
    a, b = node.given(0), node.given(1)
    if storage_of(a) == "f32":
        return node.emit(Floor, node.part("quotient", top.Div, a, b))
    rest = node.part("rest", top.Mod, a, b)
    return node.emit(top.Div, node.part("multiple", top.Sub, a, rest), b)


@rule("NOT_EQUAL")
def not_equal(node: Node) -> SSAValue:
    """A ≠ b."""
    return node.emit(logic.Not, node.part("equal", logic.Compare, node.given(0), node.given(1), mode="Equal"))


@rule("SELECT", "SELECT_V2")
def select(node: Node) -> SSAValue:
    """The second operand where the first is true, else the third; SELECT may choose whole rows."""
    condition, chosen = node.given(0), node.shape(1)
    if node.op_type == "SELECT" and len(node.shape(0)) == 1 and len(chosen) > 1:
        rows = [*node.shape(0), *([1] * (len(chosen) - 1))]
        condition = node.part("rows", Reshape, condition, shape=rows)
    return node.emit(logic.Where, condition, node.given(1), node.given(2))


@rule("ZEROS_LIKE")
def zeros_like(node: Node) -> SSAValue:
    """Zeros of the operand's shape and type."""
    return node.weight(np.zeros(node.room_for(node.shape(0)), DTYPES[node.storage(0)]), "zeros")
