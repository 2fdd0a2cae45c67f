"""Sums of two tensors: as many elements as fill no vector, sides that lie alike and sides that broadcast."""

from pathlib import Path

import onnx
import pytest
from native.compiled import differing, machines
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper

from stepdown.dialects.program import Program
from stepdown.formats.onnx.importer import import_model
from stepdown.transforms.canonicalize import Canonicalize

MACHINES = machines()


def network() -> Program:
    """Return Σ and differences of tensors of 105 elements, one of them of a side that broadcasts."""
    shapes = {"a": [1, 5, 3, 7], "b": [1, 5, 3, 7], "c": [1, 5, 1, 1]}
    nodes = [
        helper.make_node("Relu", ["a"], ["r"], name="r"),
        helper.make_node("Add", ["r", "b"], ["plus"], name="plus"),
        helper.make_node("Sub", ["a", "b"], ["minus"], name="minus"),
        helper.make_node("Add", ["b", "c"], ["spread"], name="spread"),
        helper.make_node("Relu", ["plus"], ["kept"], name="kept"),
    ]
    given = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    results = [helper.make_tensor_value_info(name, 1, None) for name in ("minus", "spread", "kept")]
    graph = helper.make_graph(nodes, "sums", given, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = import_model(onnx.shape_inference.infer_shapes(model), "sums")
    Canonicalize().run(program)
    return program


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["INT8", "INT8 asymmetric"])
def test_sums_have_the_bytes_of_the_reference(mode, machine, tmp_path: Path) -> None:
    program = lowered(network(), mode)
    assert differing(program, inputs(program), MACHINES[machine], tmp_path) == {}
