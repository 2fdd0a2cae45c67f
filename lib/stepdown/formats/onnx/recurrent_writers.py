"""Writes recurrent TOP ops as ONNX nodes."""

from typing import Any

from stepdown.dialects.top.recurrent import Recurrent
from stepdown.dialects.types import shape_of
from stepdown.formats.onnx.exporter import Written, writer
from stepdown.formats.onnx.recurrent_rules import ALPHA, BETA, LAYERS

_OPERATORS = {op.__name__: name for name, op in LAYERS.items()}
_STATES = (5, 6)
"""Which operands are initial states."""


@writer(*_OPERATORS)
def recurrent(op: Written) -> None:
    """RNN, GRU, LSTM; between Transposes where the batch comes first, which onnxruntime's kernels do not know."""
    operator, attributes = _OPERATORS[type(op.op).__name__], _attributes(op.op)
    if not op.op.batch_first:
        op.emit(operator, *op.inputs, **attributes)
        return
    inputs = [
        op.part(f"sequence_first{i}", "Transpose", name, perm=[1, 0, 2]) if name and i in (0, *_STATES) else name
        for i, name in enumerate(op.inputs)
    ]
    made = [op.part_name(f"made{i}") for i in range(len(op.names))]
    op.draft.node(operator, inputs, made, **attributes)
    for name, part, order in zip(op.names, made, ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2]), strict=False):
        op.draft.node("Transpose", [part], [name], perm=order)


def _attributes(op: Recurrent) -> dict[str, Any]:
    """Return the ONNX attributes; only functions that have a parameter are given one."""
    names = op.activations.split(",")
    found: dict[str, Any] = {
        "hidden_size": shape_of(op.operands[2])[2], "direction": op.direction, "activations": names,
        "activation_alpha": [a for name, a in zip(names, op.alpha, strict=True) if name in ALPHA],
        "activation_beta": [b for name, b in zip(names, op.beta, strict=True) if name in BETA],
    }  # fmt: skip
    if op.clip > 0:
        found["clip"] = op.clip
    for field, attribute in (("reset_after", "linear_before_reset"), ("input_forget", "input_forget")):
        if getattr(op, field, False):
            found[attribute] = 1
    return {name: value for name, value in found.items() if value != []}
