"""The registry of TFLite import rules, by the names of the schema (`CONV_2D`)."""

from stepdown.formats.registry import Registry, Rule

REGISTRY = Registry("stepdown.formats.tflite", "operators", "cut the model before them or rewrite them")
RULES, REASONS, rule, refuse = REGISTRY.rules, REGISTRY.reasons, REGISTRY.rule, REGISTRY.refuse

__all__ = ["REASONS", "REGISTRY", "RULES", "Rule", "refuse", "rule"]
