"""Products of two computed tensors: stacks that broadcast, vectors, depths and columns that fill nothing."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, differing, machines, small
from native.graphs import program_of
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper, numpy_helper

from stepdown.dialects.program import Program
from stepdown.native.network import network_of
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
SHAPES = [
    ((7, 9), (9, 21)), ((2, 3, 5, 4), (2, 3, 4, 33)), ((3, 1, 6, 8), (2, 8, 16)), ((5,), (2, 5, 3)), ((2, 4, 6), (6,)),
    ((1, 1, 13), (4, 13, 17)),
]  # fmt: skip
HELD = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)


def network() -> Program:
    """Return products of all SHAPES, one whose right side is turned, and two with a stack of constants."""
    nodes, given, results = [], [], []
    for i, sides in enumerate(SHAPES):
        given += [helper.make_tensor_value_info(f"{n}{i}", 1, shape) for n, shape in zip("ab", sides, strict=True)]
        nodes.append(helper.make_node("MatMul", [f"a{i}", f"b{i}"], [f"y{i}"], name=f"y{i}"))
    nodes += [
        helper.make_node("Transpose", ["b1"], ["turned"], name="turned", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["y1", "turned"], ["y6"], name="y6"),
        helper.make_node("MatMul", ["a4", "held"], ["y7"], name="y7"),
        helper.make_node("MatMul", ["held", "b3"], ["y8"], name="y8"),
    ]
    results = [helper.make_tensor_value_info(f"y{i}", 1, None) for i in range(9)]
    return program_of("products", nodes, given, results, [numpy_helper.from_array(HELD, "held")])


@pytest.mark.parametrize("machine", MACHINES)
def test_integers_have_the_bytes_of_the_reference(machine, tmp_path: Path) -> None:
    program = lowered(network(), "INT8")
    assert differing(program, inputs(program), MACHINES[machine], tmp_path) == {}


@pytest.mark.parametrize("mode, machine", [*(("F32", m) for m in MACHINES), ("F16", "x86-64-v3"), ("BF16", "c")])
def test_reals_are_near_the_reference(mode, machine, tmp_path: Path) -> None:
    program = lowered(network(), mode)
    runner = compiled(program, MACHINES[machine], tmp_path)
    given = inputs(program)
    got, wanted = runner.run(given), MlirRunner(program).run(given)
    runner.close()
    unit = {"F32": 2.0**-20, "F16": 2.0**-10, "BF16": 2.0**-7}[mode]
    for name, values in wanted.items():
        assert np.abs(got[name] - values).max() <= unit * np.abs(values).max(), name


def test_what_fits_no_panel_has_the_same_bytes(tmp_path: Path) -> None:
    program = lowered(network(), "INT8 asymmetric")
    for name, machine in MACHINES.items():
        (tmp_path / name).mkdir()
        kinds = {type(call.kernel).__name__ for call in network_of(program, small(machine)).calls}
        assert {"IntegerPanels", "IntegerPairs"} <= kinds
        assert differing(program, inputs(program), small(machine), tmp_path / name) == {}
