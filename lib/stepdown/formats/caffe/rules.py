"""The registry of Caffe import rules: layer type → how it becomes TOP ops.

A rule takes a `Node` and returns the values of its tops, one module a family of layers.
"""

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from stepdown.formats.caffe.node import Node

Rule = Callable[[Node], SSAValue | Sequence[SSAValue]]

RULES: dict[str, Rule] = {}
"""Every layer type that we import."""

REASONS: dict[str, str] = {}
"""Why we refuse some layers whatever the net."""


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Register the import rule of some layer types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, function))
        return function

    return register


def refuse(reason: str, *types: str) -> None:
    """Note why some layer types are never imported."""
    REASONS.update(dict.fromkeys(types, reason))


refuse("it runs code that is not in the model", "Python", "PythonLayer")
refuse("recurrent layers are not imported", "LSTM", "LSTMUnit", "RNN", "Recurrent")
refuse("how many results it gives depends on the data", "Filter", "Proposal", "PSROIPooling", "ROIPooling")
