"""Classifiers so small that what they must say is known."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def echo(path: Path, classes: int = 4, batch: int | str = 1, outputs: int = 1) -> Path:
    """Write a model whose scores are its input [batch, classes]."""
    given = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])
    names = [f"out{i}" for i in range(outputs)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, classes]) for name in names]
    nodes = [helper.make_node("Identity", ["scores"], [name]) for name in names]
    graph = helper.make_graph(nodes, "echo", [given], made)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def brightness(path: Path, channels_last: bool = False, classes: int = 3) -> Path:
    """Write a model for 4×4 RGB photos whose scores are the means of red, green, blue, and then zeros."""
    shape, axes = ([1, 4, 4, 3], [1, 2]) if channels_last else ([1, 3, 4, 4], [2, 3])
    given = helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, classes])
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [1, classes - 3], [0.0] * (classes - 3))
    nodes = [helper.make_node("ReduceMean", ["photo"], ["means"], axes=axes, keepdims=0)]
    nodes.append(helper.make_node("Concat", ["means", "zeros"], ["out"], axis=1))
    graph = helper.make_graph(nodes, "brightness", [given], [made], [zeros])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def photo(path: Path, colour: tuple[int, int, int]) -> Path:
    """Write a photo of one colour."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)
    return path


def one_hot(classes: int, *best: int) -> np.ndarray:
    """Return float32[N, classes] of samples for `echo`, each with its best class."""
    return np.eye(classes, dtype=np.float32)[list(best)]
