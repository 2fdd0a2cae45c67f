"""A float ONNX model as onnxruntime's own tools quantise it for its fast kernels: u8 activations, i8 weights a channel.

    python regression/bench/experiments_u8s8.py MODULE.mlir FLOAT.onnx PHOTOS U8S8.onnx

FLOAT.onnx is what mlir2onnx.py made of the module; its ranges are those of the photos in a folder, by MinMax.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from native_networks import quantised

from stepdown.data.image import load_image
from stepdown.evaluation.experiments.engines import fitted, preprocess_of
from stepdown.runtimes.peers import OnnxruntimePeer


def photos_of(module: str, model: str, folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Return the photos of a folder as inputs of a model, one after the other."""
    peer, preprocess = OnnxruntimePeer(model), preprocess_of(module)
    made = fitted(preprocess, peer, model)
    name = peer.inputs()[0].name
    files = sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png"))
    return ({name: made.apply(load_image(file)).astype(np.float32)} for file in files)


def main(module: str, model: str, photos: str, target: str) -> None:
    """Write the quantised model."""
    quantised(Path(model), Path(target), photos_of(module, model, Path(photos)))


if __name__ == "__main__":
    main(*sys.argv[1:])
