"""Write the weights of mnist_cnn.onnx as the caffemodel of mnist_cnn.prototxt.

python mnist_cnn_to_caffe.py X.caffemodel
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from stepdown.formats.caffe.schema import blobs_class

# Layer of the prototxt → where its weights and bias are in the ONNX model.
LAYERS = {
    "conv1": "conv_layers.0", "conv2": "conv_layers.3", "conv3": "conv_layers.6", "fc1": "fc_layers.0",
    "fc2": "fc_layers.2",
}  # fmt: skip


def caffemodel(source: Path) -> bytes:
    """Return the bytes of a caffemodel with the weights of an ONNX model."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(source).graph.initializer}
    net = blobs_class()(name="mnist_cnn")
    for name, module in LAYERS.items():
        layer = net.layer.add(name=name)
        for part in ("weight", "bias"):
            array = arrays[f"{module}.{part}"]
            blob = layer.blobs.add(data=[array.astype(np.dtype("<f4")).tobytes()])
            blob.shape.dim.extend(array.shape)
    return bytes(net.SerializeToString())


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(caffemodel(Path(__file__).with_name("mnist_cnn.onnx")))
