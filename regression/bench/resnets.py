"""Networks of ResNet's shapes with random weights: what is measured here depends on shapes alone.

Source of the shapes: K. He and others, Deep Residual Learning for Image Recognition, CVPR 2016, table 1. A stride of 2
lies in the first 3 × 3 convolution of a block.
"""

from typing import Any

import numpy as np

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of each stage, by the number of layers; from 50 on blocks are bottlenecks."""


def resnet(layers: int) -> Any:
    """Return the ONNX model of a ResNet: x[1, 3, 224, 224] to y[1, 1000]."""
    from onnx import TensorProto, helper

    net = _Net()
    net.node("MaxPool", [net.conv("x", 3, 64, 7, 2)], "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x, width, wide = "p", 64, 4 if layers >= 50 else 1
    for stage, blocks in enumerate(BLOCKS[layers]):
        inner = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            left = net.bottleneck(x, width, inner, stride) if wide > 1 else net.basic(x, width, inner, stride)
            same = width == inner * wide and stride == 1
            right = x if same else net.conv(x, width, inner * wide, 1, stride, relu=False)
            net.node("Add", [left, right], f"s{stage}_{block}")
            x, width = net.node("Relu", [f"s{stage}_{block}"], f"s{stage}_{block}_r"), inner * wide
    net.node("GlobalAveragePool", [x], "g")
    net.node("Flatten", ["g"], "f")
    net.node("MatMul", ["f", net.weight("fc_w", (width, 1000), 0.02)], "y")
    graph = helper.make_graph(
        net.nodes, f"resnet{layers}", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])], net.weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


class _Net:
    """Nodes and weights of a graph that grows."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def weight(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        from onnx import numpy_helper

        values = self._random.standard_normal(shape, np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, cin: int, cout: int, size: int, stride: int, relu: bool = True) -> str:
        name = f"c{len(self.nodes)}"
        kernel = self.weight(f"{name}_w", (cout, cin, size, size), float(np.sqrt(2 / (cin * size * size))))
        sides = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4}
        self.node("Conv", [x, kernel], name, **sides)
        return self.node("Relu", [name], f"{name}_r") if relu else name

    def basic(self, x: str, width: int, inner: int, stride: int) -> str:
        return self.conv(self.conv(x, width, inner, 3, stride), inner, inner, 3, 1, relu=False)

    def bottleneck(self, x: str, width: int, inner: int, stride: int) -> str:
        opened = self.conv(x, width, inner, 1, 1)
        return self.conv(self.conv(opened, inner, inner, 3, stride), inner, inner * 4, 1, 1, relu=False)
