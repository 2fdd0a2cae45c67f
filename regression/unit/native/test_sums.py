"""Sums of two tensors: as many elements as fill no vector, sides that lie alike and sides that broadcast."""

from pathlib import Path

import pytest
from native.compiled import differing, machines
from native.graphs import program_of
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper

from stepdown.dialects.program import Program

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
    return program_of("sums", nodes, given, results)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["INT8", "INT8 asymmetric"])
def test_sums_have_the_bytes_of_the_reference(mode, machine, tmp_path: Path) -> None:
    program = lowered(network(), mode)
    assert differing(program, inputs(program), MACHINES[machine], tmp_path) == {}
