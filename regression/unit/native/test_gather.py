"""Reading and writing at places that are known at run time: of constants and of tensors, from either end."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, machines
from native.graphs import program_of
from npu.test_networks import calibrate
from onnx import helper, numpy_helper
from targets import lowering

from stepdown.dialects.program import Program
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
FIXED = np.random.default_rng(5)
TABLE = FIXED.normal(size=(7, 3)).astype(np.float32)
PLACES = FIXED.integers(-3, 3, (2, 4, 9))
SHAPES = {"x": (3, 3, 5), "u": (2, 3, 5), "v": (4, 6)}
INDICES = {
    "i": ((2, 2), 3),
    "g": ((2, 2), 5),
    "e": ((2, 3, 5), 3),
    "r": ((2, 3, 2), 3),
    "s": ((4, 6), 6),
    "t": ((3, 2), 7),
}
"""By name, the shape, and the size of what they are indices of."""
NODES = [
    ("Gather", ["x", "i"], {"axis": 0}), ("Gather", ["table", "t"], {"axis": 0}), ("Gather", ["x", "g"], {"axis": 2}),
    ("GatherElements", ["x", "e"], {"axis": 0}), ("GatherElements", ["x", "places"], {"axis": 2}),
    ("GatherND", ["x", "r"], {}), ("GatherND", ["x", "near"], {"batch_dims": 1}),
    ("ScatterElements", ["w", "s", "v"], {"axis": 1, "reduction": "add"}),
    ("ScatterElements", ["w", "s", "v"], {"axis": 1, "reduction": "max"}),
    ("ScatterND", ["x", "r", "u"], {}), ("ScatterND", ["x", "r", "u"], {"reduction": "mul"}),
]  # fmt: skip


def network(combines: bool = True) -> Program:
    """Return an op for each row of NODES, with those that combine updates with what is there, or without."""
    rows = [row for row in NODES if combines or "reduction" not in row[2]]
    held = {"table": TABLE, "places": PLACES[:, :3, :5], "near": PLACES[0, :3, :1], "w": np.ones((4, 6), np.float32)}
    given = [helper.make_tensor_value_info(name, 1, shape) for name, shape in SHAPES.items()]
    given += [helper.make_tensor_value_info(name, 7, shape) for name, (shape, _) in INDICES.items()]
    nodes = [helper.make_node(op, names, [f"y{n}"], f"y{n}", **more) for n, (op, names, more) in enumerate(rows)]
    results = [helper.make_tensor_value_info(f"y{n}", 1, None) for n in range(len(nodes))]
    arrays = [numpy_helper.from_array(array, name) for name, array in held.items()]
    return program_of("places", nodes, given, results, arrays, opset=18)


def inputs() -> dict[str, np.ndarray]:
    """Return numbers, and indices of all places but what does not fit; -1 is the last one."""
    rng = np.random.default_rng(1)
    numbers = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return numbers | {name: rng.integers(-size, size, shape) for name, (shape, size) in INDICES.items()}


def results(program: Program, machine: str, folder: Path, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    runner = compiled(program, MACHINES[machine], folder)
    try:
        return runner.run(given)
    finally:
        runner.close()


@pytest.mark.parametrize("mode, machine", [*(("F32", m) for m in MACHINES), ("INT8", "x86-64"), ("BF16", "x86-64-v3")])
def test_what_is_read_and_written_is_what_the_reference_has(mode, machine, tmp_path: Path) -> None:
    program = lowered_with_indices(mode)
    found, wanted = results(program, machine, tmp_path, inputs()), MlirRunner(program).run(inputs())
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)


def lowered_with_indices(mode: str) -> Program:
    """Return the network lowered; its ranges are those of its own inputs."""
    program = network(combines=mode != "BF16")
    calibrate(program, inputs())
    lowering(mode, "x86_64").run(program)
    return program


def test_indices_beyond_the_ends_read_the_first_and_the_last(tmp_path: Path) -> None:
    far = {name: np.where(array < 0, -(1 << 40), 1 << 40) for name, array in inputs().items() if name in INDICES}
    near = {name: np.where(array < 0, -INDICES[name][1], INDICES[name][1] - 1) for name, array in far.items()}
    program = lowered_with_indices("F32")
    found, kept = (results(program, "x86-64", tmp_path, inputs() | ends) for ends in (far, near))
    for name, values in kept.items():
        np.testing.assert_array_equal(found[name], values, name)
