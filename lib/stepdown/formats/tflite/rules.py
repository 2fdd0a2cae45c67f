"""The registry of TFLite import rules: builtin operator → how it becomes TOP ops.

A rule takes a `Node` and returns the values of its outputs; one module a family, as for ONNX.
"""

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from stepdown.formats.tflite.node import Node

Rule = Callable[[Node], SSAValue | Sequence[SSAValue]]

RULES: dict[str, Rule] = {}
"""Every builtin operator that we import, by its name in the schema."""

REASONS: dict[str, str] = {}
"""Why we refuse some operators whatever the model."""


def rule(*op_types: str) -> Callable[[Rule], Rule]:
    """Register the import rule of some operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(op_types, function))
        return function

    return register


def refuse(reason: str, *op_types: str) -> None:
    """Note why some operators are never imported."""
    REASONS.update(dict.fromkeys(op_types, reason))
