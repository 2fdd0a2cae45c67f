"""Networks quantised by onnxruntime's own quantiser, for the tests of what imports and runs them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

# Quantised activations × quantised weights, as onnxruntime names them.
TYPES = {"s8s8": (QuantType.QInt8, QuantType.QInt8), "u8s8": (QuantType.QUInt8, QuantType.QInt8),
         "u8u8": (QuantType.QUInt8, QuantType.QUInt8)}  # fmt: skip
FORMATS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
LEAST_OPSET = 13


class Samples(CalibrationDataReader):
    """Some inputs for calibration."""

    def __init__(self, samples: list[dict[str, np.ndarray]]) -> None:
        self._left: Iterator[dict[str, np.ndarray]] = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, None after the last."""
        return next(self._left, None)


def samples_of(model: onnx.ModelProto, count: int = 3) -> list[dict[str, np.ndarray]]:
    """Return inputs of smooth random numbers in the shapes that the model states."""
    rng = np.random.default_rng(0)
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = {
        v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim]
        for v in model.graph.input
        if v.name not in constants
    }
    return [{n: rng.normal(0, 1, shape).astype(np.float32) for n, shape in shapes.items()} for _ in range(count)]


def quantized(model: onnx.ModelProto, folder: Path, format: str, types: str, per_channel: bool = True) -> Path:
    """Quantise a model, and write it into `folder`."""
    logging.getLogger().setLevel(logging.ERROR)
    if model.opset_import[0].version < LEAST_OPSET:
        model = version_converter.convert_version(model, LEAST_OPSET)
    source, target = folder / "float.onnx", folder / f"{format}_{types}_{per_channel}.onnx"
    onnx.save(model, source)
    activation, weight = TYPES[types]
    quantize_static(
        source, target, Samples(samples_of(model)), quant_format=FORMATS[format], per_channel=per_channel,
        activation_type=activation, weight_type=weight,
    )  # fmt: skip
    return target
