"""Convolutions of each channel by itself: rows made together, channels that fill no vector, windows of any geometry."""

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
from stepdown.native.kernels.image import strips
from stepdown.runtimes.mlir import MlirRunner

MACHINE = machines().get("cascadelake", machines().get("x86-64-v3", machines()["c"]))
WINDOWS = [  # kernel, strides, pads, dilations
    ([3, 3], [1, 1], [1, 1, 1, 1], [1, 1]),
    ([5, 5], [1, 1], [2, 2, 2, 2], [1, 1]),
    ([3, 3], [3, 2], [0, 1, 2, 1], [1, 1]),
    ([4, 3], [1, 3], [2, 1, 1, 0], [1, 1]),
    ([1, 5], [1, 1], [0, 2, 0, 2], [1, 1]),
    ([1, 1], [3, 1], [0, 0, 0, 0], [1, 1]),
    ([3, 3], [1, 1], [2, 2, 2, 2], [2, 2]),
    ([3, 1], [2, 1], [1, 0, 1, 0], [1, 1]),
]


def network(channels: int) -> Program:
    """Return a network of one convolution a window, each over the input."""
    rng = np.random.default_rng(channels)
    nodes, held = [], []
    for i, (kernel, strides, pads, dilations) in enumerate(WINDOWS):
        held += [
            numpy_helper.from_array(rng.normal(size=[channels, 1, *kernel]).astype(np.float32), f"w{i}"),
            numpy_helper.from_array(rng.normal(size=channels).astype(np.float32), f"b{i}"),
        ]
        geometry = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
        node = helper.make_node("Conv", ["x", f"w{i}", f"b{i}"], [f"y{i}"], name=f"n{i}", group=channels, **geometry)
        nodes.append(node)
    results = [helper.make_tensor_value_info(f"y{i}", 1, None) for i in range(len(WINDOWS))]
    given = helper.make_tensor_value_info("x", 1, [1, channels, 9, 13])
    return program_of("depthwise", nodes, [given], results, held)


@pytest.mark.parametrize(("channels", "mode"), [(27, "INT8"), (21, "INT8 asymmetric")])
def test_integers_have_the_bytes_of_the_reference(channels, mode, tmp_path: Path) -> None:
    program = lowered(network(channels), mode)
    machine = small(MACHINE) if mode == "INT8" else MACHINE
    assert differing(program, inputs(program), machine, tmp_path) == {}


def test_reals_are_near_the_reference(tmp_path: Path) -> None:
    program = network(13)
    lowering("F32", "x86_64").run(program)
    given = inputs(program)
    got = compiled(program, MACHINE, tmp_path).run(given)
    for name, wanted in MlirRunner(program).run(given).items():
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=8 * FLOAT_BOUND * np.abs(wanted).max())


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("channels", [1, 8, 24, 40, 45])
def test_channels_are_summed_once_in_vectors_that_are_no_wider_than_they_need(channels, lanes) -> None:
    found = strips(channels, lanes)
    assert sum(s.count * s.used for s in found) == channels
    assert all(s.lanes == 4 or s.used > s.lanes // 2 for s in found)
