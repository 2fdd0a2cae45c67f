"""Programs made of a few ONNX nodes."""

from collections.abc import Sequence

import onnx
from onnx import helper

from stepdown.dialects.program import Program
from stepdown.formats.onnx.importer import import_model
from stepdown.transforms.canonicalize import Canonicalize


def program_of(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    given: Sequence[onnx.ValueInfoProto],
    results: Sequence[onnx.ValueInfoProto],
    held: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
) -> Program:
    """Return the canonical program of a graph: its nodes, inputs, outputs and constants."""
    graph = helper.make_graph(nodes, name, given, results, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    program = import_model(onnx.shape_inference.infer_shapes(model), name)
    Canonicalize().run(program)
    return program
