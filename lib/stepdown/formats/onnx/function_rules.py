"""Operators imported as the graph by which the standard defines them."""

from stepdown.formats.onnx.functions import expand
from stepdown.formats.onnx.rules import rule

rule(
    "Attention", "CausalConvWithState", "FlexAttention", "LinearAttention", "NegativeLogLikelihoodLoss",
    "RotaryEmbedding", "SoftmaxCrossEntropyLoss",
)(expand)  # fmt: skip
