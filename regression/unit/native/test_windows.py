"""Convolutions and pools of every geometry: one network a rank, all tensors with the bytes of the reference."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from native.compiled import FLOAT_BOUND, compiled, differing, machines, small
from native.graphs import program_of
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper, numpy_helper
from targets import lowering

from stepdown.dialects.program import Program
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
pytestmark = pytest.mark.apart
RNG = np.random.default_rng(11)


@dataclass(frozen=True)
class Window:
    """A convolution over 12 channels; lists hold one number a spatial dimension, pads begins then ends."""

    out: int
    kernel: list[int]
    strides: list[int]
    pads: list[int]
    dilations: list[int]
    group: int = 1
    op: str = "Conv"


FLAT = [
    Window(7, [3], [1], [1, 1], [1]),
    Window(12, [4], [2], [0, 3], [2], 12),
    Window(20, [1], [3], [0, 0], [1], 4),
    Window(6, [3], [2], [1, 0], [1], op="ConvTranspose"),
]
PLANE = [
    Window(5, [1, 1], [1, 1], [0, 0, 0, 0], [1, 1]),
    Window(33, [1, 1], [2, 3], [0, 0, 0, 0], [1, 1]),
    Window(16, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1]),
    Window(9, [3, 2], [2, 1], [0, 2, 1, 0], [1, 3], 3),
    Window(24, [5, 5], [2, 2], [2, 2, 2, 2], [1, 1], 2),
    Window(12, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 12),
    Window(12, [3, 3], [2, 2], [0, 0, 1, 1], [1, 1], 12),
    Window(12, [2, 5], [1, 2], [3, 0, 0, 4], [2, 2], 12),
    Window(24, [3, 3], [1, 1], [1, 1, 1, 1], [2, 2], 12),
    Window(10, [2, 2], [2, 2], [0, 0, 0, 0], [1, 1], op="ConvTranspose"),
    Window(8, [3, 4], [2, 3], [1, 2, 0, 1], [1, 2], 4, op="ConvTranspose"),
]


def network(windows: list[Window], size: list[int], batch: int = 2) -> Program:
    """Return a network in which every window is over the input."""
    nodes, held, results = [], [], []
    for i, w in enumerate(windows):
        per_group = [w.out, 12 // w.group] if w.op == "Conv" else [12, w.out // w.group]
        held += [
            numpy_helper.from_array(RNG.normal(size=[*per_group, *w.kernel]).astype(np.float32), f"w{i}"),
            numpy_helper.from_array(RNG.normal(size=w.out).astype(np.float32), f"b{i}"),
        ]
        nodes.append(
            helper.make_node(
                w.op, ["x", f"w{i}", f"b{i}"], [f"y{i}"], name=f"n{i}", kernel_shape=w.kernel, strides=w.strides,
                pads=w.pads, dilations=w.dilations, group=w.group,
            )
        )  # fmt: skip
        results.append(helper.make_tensor_value_info(f"y{i}", 1, None))
    rank = len(size)
    pool = {"kernel_shape": [3] * rank, "strides": [2] * rank, "pads": [1] * 2 * rank}
    for op in ("MaxPool", "AveragePool"):
        nodes.append(helper.make_node(op, ["x"], [op], name=op, **pool))
        results.append(helper.make_tensor_value_info(op, 1, None))
    given = helper.make_tensor_value_info("x", 1, [batch, 12, *size])
    return program_of("windows", nodes, [given], results, held)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["INT8", "INT8 asymmetric"])
def test_windows_of_integers(mode, machine, tmp_path: Path) -> None:
    for name, windows, size in (("flat", FLAT, [19]), ("plane", PLANE, [11, 14])):
        program = lowered(network(windows, size), mode)
        (tmp_path / name).mkdir()
        chosen = small(MACHINES[machine]) if mode == "INT8" else MACHINES[machine]
        assert differing(program, inputs(program), chosen, tmp_path / name) == {}


def test_windows_of_reals(tmp_path: Path) -> None:
    program = network(PLANE, [11, 14])
    lowering("F32", "x86_64").run(program)
    given = inputs(program)
    got = compiled(program, MACHINES["x86-64-v3"], tmp_path).run(given)
    for name, wanted in MlirRunner(program).run(given).items():
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=8 * FLOAT_BOUND * np.abs(wanted).max())
