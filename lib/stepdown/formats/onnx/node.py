"""One ONNX node, as import rules see it."""

from stepdown.dialects.program import Program
from stepdown.formats import graph


class Graph(graph.Graph):
    """The state of one ONNX import."""

    def __init__(self, program: Program, opset: int) -> None:
        super().__init__(program)
        self.opset = opset


class Node(graph.Node):
    """One ONNX node: its tensors are called `<onnx tensor>_<OpType>`."""

    graph: Graph

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return self.graph.opset

    def tensor_name(self, output: str) -> str:
        """Return `<onnx tensor>_<OpType>`."""
        return f"{output}_{self.op_type}"
