"""Recurrent layers."""

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from stepdown.dialects.top import recurrent as top
from stepdown.dialects.top.gates import GATE_FUNCTIONS
from stepdown.formats.onnx.node import Node
from stepdown.formats.onnx.rules import rule

LAYERS: dict[str, type[top.Recurrent]] = {"RNN": top.Rnn, "GRU": top.Gru, "LSTM": top.Lstm}
_SPELLED = {name.lower(): name for name in GATE_FUNCTIONS}
# Which functions have parameters, and their defaults: those of the ONNX operators of these names; NaN where there is
# no such operator any more, so that there is no default.
ALPHA = {
    "Affine": math.nan, "Elu": 1.0, "HardSigmoid": 0.2, "LeakyRelu": 0.01, "ScaledTanh": math.nan,
    "ThresholdedRelu": 1.0,
}  # fmt: skip
BETA = {"Affine": math.nan, "HardSigmoid": 0.5, "ScaledTanh": math.nan}


@rule(*LAYERS)
def recurrent(node: Node) -> Sequence[SSAValue]:
    """RNN, GRU, LSTM. Source: ONNX RNN-22, GRU-22, LSTM-22."""
    op, direction = LAYERS[node.op_type], node.attribute("direction", "forward")
    names = _functions(node, op, 2 if direction == "bidirectional" else 1)
    hidden = node.attribute("hidden_size", node.shape(2)[-1])
    if hidden != node.shape(2)[-1]:
        raise node.refuse(f"hidden_size is {hidden}, the recurrence weight has shape {node.shape(2)}")
    own = {}
    if op is top.Gru:
        own = {"reset_after": node.attribute("linear_before_reset", 0)}
    if op is top.Lstm:
        own = {"input_forget": node.attribute("input_forget", 0)}
    return node.emit_all(
        op, *node.values(), direction=direction, activations=",".join(names), clip=node.attribute("clip", 0.0),
        alpha=_parameters(node, names, "activation_alpha", ALPHA),
        beta=_parameters(node, names, "activation_beta", BETA),
        batch_first=node.attribute("layout", 0), **own,
    )  # fmt: skip


def _functions(node: Node, op: type[top.Recurrent], directions: int) -> list[str]:
    """Return the gate functions of all directions as TOP spells them; ONNX names do not depend on case."""
    given = node.attribute("activations") or list(op.functions * directions)
    if unknown := [name for name in given if name.lower() not in _SPELLED]:
        raise node.refuse(f"the activation '{unknown[0]}' is none of {', '.join(GATE_FUNCTIONS)}")
    return [_SPELLED[name.lower()] for name in given]


def _parameters(node: Node, names: list[str], attribute: str, defaults: dict[str, float]) -> list[float]:
    """Return one parameter a function: those given go in order to the functions that have one, 0 to the others."""
    rest = iter(node.attribute(attribute, []))
    found = [next(rest, defaults[name]) if name in defaults else 0.0 for name in names]
    if missing := [name for name, value in zip(names, found, strict=True) if math.isnan(value)]:
        raise node.refuse(f"{attribute} says nothing for {missing[0]}, which has no default")
    return found
