"""A float ONNX model as onnxruntime's own tools quantise it for its fast kernels: u8 activations, i8 weights a channel.

    python regression/bench/experiments_u8s8.py MODULE.mlir FLOAT.onnx PHOTOS U8S8.onnx

FLOAT.onnx is what mlir2onnx.py made of the module; its ranges are those of the photos in a folder, by MinMax.
"""

import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from stepdown.data.image import load_image
from stepdown.evaluation.experiments.engines import fitted, preprocess_of
from stepdown.runtimes.peers import OnnxruntimePeer


class Photos(CalibrationDataReader):
    """The photos of a folder as inputs of a model, one after the other."""

    def __init__(self, module: str, model: str, folder: Path) -> None:
        peer, preprocess = OnnxruntimePeer(model), preprocess_of(module)
        made = fitted(preprocess, peer, model)
        name = peer.inputs()[0].name
        files = sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png"))
        self._left = ({name: made.apply(load_image(file)).astype(np.float32)} for file in files)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        """Return the next input, None after the last one."""
        return next(self._left, None)


def main(module: str, model: str, photos: str, target: str) -> None:
    """Write the quantised model."""
    prepared = target + ".prepared"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared, target, Photos(module, model, Path(photos)), quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    Path(prepared).unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
