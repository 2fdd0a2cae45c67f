"""Operators that we refuse whatever the model, and why; those of a family that we know are refused in its module."""

from stepdown.formats.onnx.rules import refuse

refuse("images are decoded before the network: give --resize_dims, --mean and --scale", "ImageDecoder")
refuse(
    "training is not supported; export the model for inference",
    *(f"ai.onnx.preview.training.{name}" for name in ("Adagrad", "Adam", "Gradient", "Momentum")),
)  # fmt: skip
refuse(
    "classical machine learning is not supported; cut the model before it",
    *(f"ai.onnx.ml.{name}" for name in ("ArrayFeatureExtractor", "Binarizer", "LabelEncoder", "TreeEnsemble")),
)  # fmt: skip
