"""The registry of ONNX import rules: op type → how it becomes TOP ops.

A rule takes a `Node` and returns the values of its outputs. Rows of one-to-one ops are in tables; the rest are
functions decorated with `@rule("OpType", …)`, one module a family.
"""

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from stepdown.formats.onnx.node import Node

Rule = Callable[[Node], SSAValue | Sequence[SSAValue]]

RULES: dict[str, Rule] = {}
"""Every operator of the default domain that we import."""

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
