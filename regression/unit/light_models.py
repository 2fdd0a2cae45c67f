"""The nine network architectures in the onnx wheel, with seeded random weights in the place of their constant ones.

The files hold real networks (ResNet-50, DenseNet-121, …) with one value for every weight, so that nearly any mistake in
a graph goes unseen. Here convolutions and matrix products get weights scaled as in K. He et al., Delving deep into
rectifiers (2015), and branches that are added up get smaller ones, which keeps activations in range through all layers.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT_MODELS = tuple(sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("light_*.onnx")))


def seeded_light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """Return the network `name` of LIGHT_MODELS; the same seed gives the same weights."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    readers = {name: (node, place) for node in kept for place, name in enumerate(node.input)}
    shapes = {key: shape for key, shape in _weight_shapes(graph) if key in readers}
    others = [tensor for tensor in graph.initializer if tensor.name in readers and tensor.name not in shapes]
    weights = [numpy_helper.from_array(_weight(readers, key, shape, rng), key) for key, shape in shapes.items()]
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    for field, values in ((graph.node, kept), (graph.initializer, others + weights), (graph.input, inputs)):
        del field[:]
        field.extend(values)  # type: ignore[arg-type]
    model.ir_version = max(model.ir_version, 4)  # from which on initializers need not be inputs
    return model


def _weight_shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, list[int]]]:
    """Yield every float constant: what ConstantOfShape makes, and the initializers."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            yield node.output[0], numpy_helper.to_array(stored[node.input[0]]).tolist()
    for tensor in stored.values():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            yield tensor.name, list(tensor.dims)


def _weight(
    readers: dict[str, tuple[onnx.NodeProto, int]], name: str, shape: list[int], rng: np.random.Generator
) -> np.ndarray:
    """Return values as a trained network could have them where the weight is read."""
    node, place = readers[name]
    if node.op_type == "Unsqueeze":
        node, place = readers[node.output[0]]
    if node.op_type in ("Conv", "Gemm") and place == 1:
        gain = 1 if shape[1] == 1 else 2  # in these networks no ReLU halves what a depthwise convolution makes
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(gain / math.prod(shape[1:])))
    if node.op_type == "Mul" or (node.op_type == "BatchNormalization" and place in (1, 4)):  # a scale, a variance
        added = place == 1 and node.output[0] in readers and readers[node.output[0]][0].op_type == "Sum"
        return rng.uniform(0.7, 1.3, shape).astype(np.float32) * np.float32(0.5 if added else 1)
    return rng.standard_normal(shape, np.float32) * np.float32(0.1)
