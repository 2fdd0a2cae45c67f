"""The registry of Caffe import rules, by layer type."""

from stepdown.formats.registry import Registry, Rule

REGISTRY = Registry("stepdown.formats.caffe", "layers", "cut the model before them with --output_names")
RULES, REASONS, rule, refuse = REGISTRY.rules, REGISTRY.reasons, REGISTRY.rule, REGISTRY.refuse

refuse("it runs code that is not in the model", "Python", "PythonLayer")
refuse("recurrent layers are not imported", "LSTM", "LSTMUnit", "RNN", "Recurrent")
refuse("how many results it gives depends on the data", "Filter", "Proposal", "PSROIPooling", "ROIPooling")

__all__ = ["REASONS", "REGISTRY", "RULES", "Rule", "refuse", "rule"]
