"""ONNX: loading and simplifying a model, importing it into TOP, writing TOP back."""
