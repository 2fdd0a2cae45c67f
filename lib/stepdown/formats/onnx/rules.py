"""The registry of ONNX import rules: op type → how it becomes TOP ops.

A rule takes a `Node` and returns the values of its outputs. Rows of one-to-one ops are in tables; the rest are
functions decorated with `@rule("OpType", …)`, one module a family.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.node import Node

if TYPE_CHECKING:
    import onnx

Rule = Callable[[Node], SSAValue | Sequence[SSAValue]]

# The last one holds operators that are to become operators of the first.
DEFAULT_DOMAINS = ("", "ai.onnx", "ai.onnx.preview")

RULES: dict[str, Rule] = {}
"""Every operator that we import, `<domain>.<operator>` where it is not of the default domain."""

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


def rule_key(node: "onnx.NodeProto") -> str:
    """Return the name under which a node's rule is registered: outside the default domain with that in front."""
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def rules_for(node: "onnx.NodeProto") -> Mapping[str, Rule]:
    """Return the rules of the node's domain by operator name alone."""
    return RULES if node.domain in DEFAULT_DOMAINS else {node.op_type: RULES[rule_key(node)]}


def refuse_unknown(nodes: "Iterable[onnx.NodeProto]") -> None:
    """Raise UnsupportedModel naming every operator that has no import rule, with how often it occurs."""
    missing = Counter(rule_key(node) for node in nodes if rule_key(node) not in RULES)
    if missing:
        listed = ", ".join(
            f"{op} ×{count}" + (f" ({REASONS[op]})" if op in REASONS else "") for op, count in sorted(missing.items())
        )
        raise UnsupportedModel(f"unsupported operators: {listed}", fix="cut the model before them or rewrite them")
