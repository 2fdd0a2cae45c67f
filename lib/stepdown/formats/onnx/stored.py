"""What an ONNX model says of its integer tensors: scales and zero points; and how to run it without saturated sums."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stepdown.dialects.types import storage_of_dtype
from stepdown.numerics.quantize import RANGES, QuantParams

if TYPE_CHECKING:
    import onnx

# Operator → the places of the scale and the zero point of its result among its operands.
RESULT_PLACES = {
    "QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearMatMul": (6, 7), "QLinearAdd": (6, 7),
    "QLinearMul": (6, 7), "QLinearSigmoid": (3, 4), "QLinearLeakyRelu": (3, 4), "QLinearSoftmax": (3, 4),
    "QLinearGlobalAveragePool": (3, 4), "QLinearAveragePool": (3, 4), "QLinearConcat": (0, 1), "QGemm": (7, 8),
}  # fmt: skip
MOVES = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
# Operator → the places of an activation, its zero point, a weight and the weight's zero point among its operands.
PRODUCTS = {
    "QLinearConv": (0, 2, 3, 5), "QLinearMatMul": (0, 2, 3, 5), "QGemm": (0, 2, 3, 5),
    "ConvInteger": (0, 2, 1, 3), "MatMulInteger": (0, 2, 1, 3),
}  # fmt: skip


def stored_tensors(model: "onnx.ModelProto") -> dict[str, QuantParams]:
    """Return, by tensor, how integers that nodes make are to be read, where constants say it for the whole tensor."""
    constants = _constants(model)
    found: dict[str, QuantParams] = {}
    for node in model.graph.node:
        params = _result_params(node, constants, found)
        if params:
            found.update(dict.fromkeys(filter(None, node.output), params))
        if node.op_type == "DequantizeLinear" and node.input[0] not in constants:
            given = _params(constants, node.input, 1, 2)
            found |= {node.input[0]: given} if given and node.input[0] not in found else {}
    return found


def _result_params(
    node: "onnx.NodeProto", constants: Mapping[str, "onnx.TensorProto"], known: Mapping[str, QuantParams]
) -> QuantParams | None:
    if node.op_type in RESULT_PLACES:
        return _params(constants, node.input, *RESULT_PLACES[node.op_type])
    return known.get(node.input[0]) if node.op_type in MOVES else None


def _params(
    constants: Mapping[str, "onnx.TensorProto"], names: "list[str]", scale: int, zero_point: int
) -> QuantParams | None:
    scales = _array(constants, names, scale)
    if scales is None or scales.size != 1:
        return None
    zeros = _array(constants, names, zero_point)
    zeros = np.zeros((), np.uint8) if zeros is None else zeros
    try:
        storage = storage_of_dtype(zeros.dtype)
    except KeyError:
        return None
    if zeros.size != 1 or storage not in RANGES:
        return None
    return QuantParams(float(np.float32(scales.item())), int(zeros.item()), storage)


def without_saturation(model: "onnx.ModelProto") -> "onnx.ModelProto | None":
    """Return the model with its int8 weights of uint8 activations as uint8, None where it has none of them.

    The numbers are the same: w + 128 with zero point + 128. Where a processor has no VNNI, onnxruntime adds two
    products uint8 × int8 in 16 bits and cuts what does not fit off; it has no such kernel for uint8 × uint8.
    """
    import onnx

    constants = _constants(model)
    places = [(node, PRODUCTS[node.op_type]) for node in model.graph.node if node.op_type in PRODUCTS]
    wrong = [node.output[0] for node, place in places if _mixes(node, place, constants)]
    if not wrong:
        return None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        if node.output[0] in wrong:
            _lift(made.graph, node, PRODUCTS[node.op_type], constants)
    return made


def _mixes(
    node: "onnx.NodeProto", place: tuple[int, int, int, int], constants: Mapping[str, "onnx.TensorProto"]
) -> bool:
    zeros, weight = _array(constants, node.input, place[1]), _array(constants, node.input, place[2])
    unsigned = zeros is not None and zeros.dtype == np.uint8
    known = place[3] >= len(node.input) or not node.input[place[3]] or node.input[place[3]] in constants
    return bool(unsigned and known and weight is not None and weight.dtype == np.int8)


def _lift(
    graph: "onnx.GraphProto", node: "onnx.NodeProto", place: tuple[int, int, int, int],
    constants: Mapping[str, "onnx.TensorProto"],
) -> None:  # fmt: skip
    """Let a node read its weight, and the weight's zero point, 128 higher as uint8."""
    from onnx import numpy_helper

    weight, zeros = _array(constants, node.input, place[2]), _array(constants, node.input, place[3])
    node.input.extend([""] * (place[3] + 1 - len(node.input)))
    for index, array in ((place[2], weight), (place[3], np.zeros((), np.int8) if zeros is None else zeros)):
        assert array is not None
        name = f"{node.output[0]}/unsigned:{index}"
        graph.initializer.append(numpy_helper.from_array((array.astype(np.int16) + 128).astype(np.uint8), name))
        node.input[index] = name


def _constants(model: "onnx.ModelProto") -> "dict[str, onnx.TensorProto]":
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _array(constants: Mapping[str, "onnx.TensorProto"], names: "list[str]", place: int) -> np.ndarray | None:
    from onnx import numpy_helper

    known = constants.get(names[place]) if place < len(names) else None
    return None if known is None else numpy_helper.to_array(known)
