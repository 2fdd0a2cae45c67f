"""Additions made in the kernel of an operand: the bytes of the reference, whatever the kernel, layout and processor."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from native.compiled import FLOAT_BOUND, PORTABLE, bytes_apart, compiled, machines, small
from native.graphs import program_of
from native.test_networks import lowered
from native.test_windows import Window
from npu.test_networks import inputs, quantised
from onnx import helper, numpy_helper
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.native import steps
from stepdown.native.code import Code
from stepdown.native.effort import LAYOUTS, effort_of
from stepdown.native.kernels import conv
from stepdown.native.kernels.joined import Joined
from stepdown.native.layout_notes import layout_notes
from stepdown.native.machine import Machine, machine_of
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

MACHINES = machines()
pytestmark = pytest.mark.apart
RNG = np.random.default_rng(17)
CHANNELS = 16
SIGNS = ("", " asymmetric")
WINDOWS = [
    Window(24, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1]),
    Window(33, [1, 1], [1, 1], [0, 0, 0, 0], [1, 1]),
    Window(10, [3, 2], [2, 1], [0, 2, 1, 0], [1, 3], 2),
    Window(16, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 16),
    Window(5, [1, 1], [2, 2], [0, 0, 0, 0], [1, 1]),
    Window(7, [2, 2], [2, 2], [0, 0, 0, 0], [1, 1], op="ConvTranspose"),
]


class Nodes:
    """Nodes and their weights, added one by one."""

    def __init__(self) -> None:
        self.made: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []

    def node(self, op: str, given: Sequence[str], **attributes: object) -> str:
        name = f"{op}{len(self.made)}"
        self.made.append(helper.make_node(op, list(given), [name], name=name, **attributes))
        return name

    def constant(self, *shape: int) -> str:
        name = f"w{len(self.held)}"
        self.held.append(numpy_helper.from_array(RNG.normal(size=shape).astype(np.float32), name))
        return name

    def window(self, x: str, w: Window, channels: int = CHANNELS) -> str:
        shape = (w.out, channels // w.group) if w.op == "Conv" else (channels, w.out // w.group)
        weights = [self.constant(*shape, *w.kernel), self.constant(w.out)]
        geometry = {"kernel_shape": w.kernel, "strides": w.strides, "pads": w.pads}
        return self.node(w.op, [x, *weights], **geometry, dilations=w.dilations, group=w.group)

    def program(self, shape: Sequence[int], *results: str) -> Program:
        given = helper.make_tensor_value_info("x", 1, shape)
        made = [helper.make_tensor_value_info(name, 1, None) for name in results]
        return program_of("net", self.made, [given], made, self.held)


def residuals(windows: Sequence[Window], shape: Sequence[int]) -> Program:
    """Return sums of two of each window: by turns beside one that is read later and in the place of one that is not."""
    nodes, results = Nodes(), []
    for i, w in enumerate(windows):
        first, last = (nodes.window("x", w, shape[1]) for _ in range(2))
        if i % 2:
            total = nodes.node("Add", (nodes.node("Relu", [first]), last))
        else:
            total = nodes.node("Relu", [nodes.node("Add", (last, first))])
            results.append(nodes.node("MaxPool", [first], kernel_shape=[1, 2]))
        results.append(nodes.node("MaxPool", [total], kernel_shape=[2, 1]))
    return nodes.program(shape, *results)


def joined(program: Program, machine: Machine) -> list[Joined]:
    """Return what is made in the kernels of others."""
    found = [getattr(call.kernel, "joined", None) for call in Code(program, machine, "net").network.calls]
    return [each for each in found if each]


def apart(program: Program, machine: Machine, folder: Path, threads: int = 0) -> dict[str, int]:
    """Return how many bytes of each output differ from the reference's."""
    given = inputs(program)
    compiled(program, machine, folder, debug=False).close()
    runner = NativeRunner(folder / "net.so", RunnerOptions(threads=threads))
    got, wanted = runner.run(given), MlirRunner(program).run(given)
    runner.close()
    counts = {name: bytes_apart(got[name], wanted[name]) for name in wanted}
    return {name: count for name, count in counts.items() if count}


@pytest.fixture(autouse=True)
def shared(monkeypatch) -> None:
    """Share whatever can be shared, as the networks of tests are small, and join whatever can be joined."""
    monkeypatch.setattr(steps, "_LEAST_US", 0.0)
    monkeypatch.setattr(conv, "_REGISTERS_OF_BOTH", 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_window_in_every_layout(layout, tmp_path: Path) -> None:
    windows = WINDOWS if layout == "nhwc" else WINDOWS[:4]
    program = lowered(residuals(windows, [2, CHANNELS, 9, 11]), "INT8")
    machine = replace(MACHINES["x86-64-v3"], effort=effort_of(3, layout))
    found = joined(program, machine)
    assert [each.in_place for each in found] == [False, True] * (len(windows) // 2)
    assert apart(program, machine, tmp_path) == {}


@pytest.mark.parametrize("seed", range(6))
def test_random_windows_of_integers(seed, tmp_path: Path) -> None:
    rng = random.Random(seed)
    name = list(MACHINES)[seed % len(MACHINES)]
    machine = small(MACHINES[name]) if rng.random() < 0.3 else MACHINES[name]
    channels, size = rng.choice([4, 8, 24, 40]), [rng.randint(4, 13), rng.randint(4, 13)]
    windows = [
        Window(rng.randint(3, 40), [k, k], [rng.randint(1, 2)] * 2, [rng.randint(0, k - 1) for _ in range(4)], [1, 1])
        for k in (1, rng.randint(2, 4))
    ]
    network = residuals([*windows, WINDOWS[0]], [rng.randint(1, 2), channels, *size])
    program = lowered(network, f"INT8{rng.choice(SIGNS)}")
    assert len(joined(program, machine)) == 3
    assert apart(program, machine, tmp_path, threads=rng.randint(1, 3)) == {}, f"seed {seed}, {name}"


@pytest.mark.parametrize(("mode", "bound"), [("F32", 8 * FLOAT_BOUND), ("F16", 2.0**-10)])
def test_reals_on_one_thread_and_on_several(mode, bound, tmp_path: Path) -> None:
    program = residuals(WINDOWS[:2], [1, 32, 16, 9])
    lowering(mode, "x86_64").run(program)
    given, machine = inputs(program), MACHINES["x86-64-v3"]
    assert len(joined(program, machine)) == 2
    got = compiled(program, machine, tmp_path, debug=False).run(given)
    for threads in (2, 3):
        more = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=threads)).run(given)
        assert all(np.array_equal(got[name], more[name]) for name in got)
    for name, wanted in MlirRunner(program).run(given).items():
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=bound * np.abs(wanted).max())


@pytest.mark.parametrize("scratch_bytes", [0, 1 << 16])
def test_a_network_that_tensorflow_quantised(scratch_bytes, tmp_path: Path) -> None:
    program = quantised("resnet8_cifar10")
    machine = replace(MACHINES["x86-64-v3"], scratch_bytes=scratch_bytes)
    assert [each.in_place for each in joined(program, machine)] == [True] * 3
    assert apart(program, machine, tmp_path) == {}


def test_products_with_matrices(tmp_path: Path) -> None:
    nodes = Nodes()
    sides = [nodes.node("MatMul", ["x", nodes.constant(12, 20)]) for _ in range(2)]
    program = lowered(nodes.program([3, 7, 12], nodes.node("Add", sides)), "INT8 asymmetric")
    assert len(joined(program, MACHINES["x86-64-v3"])) == 1
    assert apart(program, MACHINES["x86-64-v3"], tmp_path) == {}


# --- where an addition is a call of its own


def told(nodes: Nodes, *results: str, keep_all: bool = False, level: int = 3) -> list[str]:
    """Return what the notes say of additions."""
    program = nodes.program([1, CHANNELS, 6, 6], *results)
    lowering("F32", "x86_64").run(program)
    machine = replace(PORTABLE, effort=effort_of(level))
    notes = layout_notes(Code(program, machine, "net", keep_all).network, machine.effort)
    return [line for line in notes.lines() if line.startswith("tpu.Add")]


def test_what_is_read_by_others_is_stored() -> None:
    nodes = Nodes()
    made = nodes.window("x", WINDOWS[3])
    total = nodes.node("Add", [made, "x"])
    (line,) = told(nodes, total, nodes.node("Exp", [made]))
    assert line.endswith("is a call of its own: no operand is a sum of products that nothing else uses")
    nodes.made.pop()
    assert told(nodes, total, made)[0].partition("own: ")[2] == line.partition("own: ")[2]
    assert told(nodes, total)[0].endswith("is made in 'Conv0_Conv'")


def test_other_operands_that_do_not_fit() -> None:
    for side, why in (
        (lambda nodes: nodes.node("ReduceMean", ["x"], axes=[2], keepdims=1), "it broadcasts an operand"),
        (lambda nodes: nodes.constant(1, CHANNELS, 6, 6), "its other operand is constant, or is computed later"),
    ):
        nodes = Nodes()
        other = side(nodes)
        total = nodes.node("Add", [nodes.window("x", WINDOWS[3]), other])
        assert told(nodes, total)[0].endswith(f"is a call of its own: {why}")


def test_nothing_is_joined_where_all_is_read_or_ops_stay_apart() -> None:
    nodes = Nodes()
    total = nodes.node("Add", [nodes.window("x", WINDOWS[3]), "x"])
    assert told(nodes, total, keep_all=True)[0].endswith("is a call of its own: all tensors are kept")
    assert told(nodes, total, level=2) == []


@pytest.mark.parametrize(("processor", "rooms"), [("x86-64-v3", [False, True]), ("skylake-avx512", [True, True])])
def test_integers_are_joined_where_registers_hold_both(processor, rooms, monkeypatch) -> None:
    monkeypatch.undo()
    program = lowered(residuals(WINDOWS[:1], [1, CHANNELS, 6, 6]), "INT8")
    machine = machine_of(load_chip("x86_64"), processor)
    assert [bool(joined(program, each)) for each in (machine, replace(machine, scratch_bytes=0))] == rooms


def test_an_operand_that_its_convolution_reads_is_not_overwritten(tmp_path: Path) -> None:
    nodes = Nodes()
    x = nodes.node("MaxPool", ["x"], kernel_shape=[2, 2])
    total = nodes.node("Add", [nodes.window(x, WINDOWS[3]), x])
    program = lowered(nodes.program([1, CHANNELS, 6, 6], nodes.node("MaxPool", [total], kernel_shape=[1, 2])), "INT8")
    assert [each.in_place for each in joined(program, MACHINES["x86-64-v3"])] == [False]
    assert apart(program, MACHINES["x86-64-v3"], tmp_path) == {}
