"""The registry of ONNX import rules, by operator: `<domain>.<operator>` where it is not of the default domain."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from stepdown.formats.registry import Registry, Rule

if TYPE_CHECKING:
    import onnx

# The last one holds operators that are to become operators of the first.
DEFAULT_DOMAINS = ("", "ai.onnx", "ai.onnx.preview")

REGISTRY = Registry("stepdown.formats.onnx", "operators", "cut the model before them or rewrite them")
RULES, REASONS, rule, refuse = REGISTRY.rules, REGISTRY.reasons, REGISTRY.rule, REGISTRY.refuse


def rule_key(node: "onnx.NodeProto") -> str:
    """Return the name under which a node's rule is registered: outside the default domain with that in front."""
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def rules_for(node: "onnx.NodeProto") -> Mapping[str, Rule]:
    """Return the rules of the node's domain by operator name alone."""
    return RULES if node.domain in DEFAULT_DOMAINS else {node.op_type: RULES[rule_key(node)]}


def refuse_unknown(nodes: "Iterable[onnx.NodeProto]") -> None:
    """Raise UnsupportedModel naming every operator that has no import rule, with how often it occurs."""
    REGISTRY.refuse_unknown(map(rule_key, nodes))


__all__ = [
    "DEFAULT_DOMAINS", "REASONS", "REGISTRY", "RULES", "Rule", "refuse", "refuse_unknown", "rule", "rule_key",
    "rules_for",
]  # fmt: skip
