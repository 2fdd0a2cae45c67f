"""Small damages to ONNX models, to see that each is refused in one line."""

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

_VALUES = (999, -999, 0, "x", 1.5, [1, 2, 3], [-7], [0, 0, 0, 0, 0])


def damage(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change one thing of a model: an operand, an attribute, a shape, a constant or an output."""
    rng.choice(DAMAGES)(model.graph, rng)


def _drop_operand(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def _empty_operand(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    if node.input:
        node.input[rng.randrange(len(node.input))] = ""


def _drop_attribute(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _change_attribute(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    if node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.CopyFrom(helper.make_attribute(attribute.name, rng.choice(_VALUES)))


def _change_shape(graph: onnx.GraphProto, rng: random.Random) -> None:
    sizes = rng.choice(graph.input).type.tensor_type.shape.dim if graph.input else ()
    if sizes and rng.random() < 0.5:
        sizes[0].dim_value = rng.choice([1, 7])
    elif sizes:
        sizes.pop()


def _change_constant(graph: onnx.GraphProto, rng: random.Random) -> None:
    if graph.initializer:
        tensor = rng.choice(graph.initializer)
        array = numpy_helper.to_array(tensor)
        flat = np.full_like(array, 99 if array.dtype.kind in "iuf" else True)
        changed = rng.choice([flat, array.reshape(-1)[:1], array.astype(np.float32)])
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


def _add_output(graph: onnx.GraphProto, rng: random.Random) -> None:
    rng.choice(graph.node).output.append("extra")


DAMAGES: list[Callable[[onnx.GraphProto, random.Random], None]] = [
    _drop_operand, _empty_operand, _drop_attribute, _change_attribute, _change_shape, _change_constant, _add_output,
]  # fmt: skip
