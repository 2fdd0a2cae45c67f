"""Convolutions by minimal filtering have the bytes of the reference, also where their sums leave 32 bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, differing, machines
from native.graphs import program_of
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper, numpy_helper

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.native import steps
from stepdown.native.build import assembly
from stepdown.native.code import Code
from stepdown.native.kernels.minimal import Minimal
from stepdown.native.kernels.minimal_forms import FORMS, FOUR, Form
from stepdown.native.machine import Machine, machine_of
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

MACHINES = machines()
RNG = np.random.default_rng(9)


def network(shapes: list[tuple[int, int]], size: tuple[int, int], pads: list[int], weights=None) -> Program:
    """Return convolutions of 3 × 3, (channels in, out) each, one after the other with a ReLU between them."""
    nodes, held, source = [], [], "x"
    for i, (channels, out) in enumerate(shapes):
        w = RNG.normal(size=(out, channels, 3, 3)) if weights is None else weights((out, channels, 3, 3))
        held += [numpy_helper.from_array(w.astype(np.float32), f"w{i}")]
        held += [numpy_helper.from_array(RNG.normal(size=out).astype(np.float32), f"b{i}")]
        nodes.append(
            helper.make_node(
                "Conv", [source, f"w{i}", f"b{i}"], [f"y{i}"], name=f"n{i}", kernel_shape=[3, 3], pads=pads
            )
        )
        nodes.append(helper.make_node("Relu", [f"y{i}"], [f"r{i}"], name=f"r{i}"))
        source = f"r{i}"
    given = helper.make_tensor_value_info("x", 1, [2, shapes[0][0], *size])
    return program_of("net", nodes, [given], [helper.make_tensor_value_info(source, 1, None)], held)


def forms(program: Program, machine: Machine) -> list[Form]:
    """Return the forms of the convolutions that are made by minimal filtering."""
    kernels = [call.kernel for call in Code(program, machine, "net").network.calls]
    return [kernel.plan.form for kernel in kernels if isinstance(kernel, Minimal)]


@pytest.mark.parametrize(("mode", "machine"), [("INT8", "x86-64-v3"), ("INT8 asymmetric", "x86-64")])
def test_tiles_of_every_place(mode, machine, tmp_path: Path) -> None:
    for name, size, pads in (("even", (8, 12), [1] * 4), ("odd", (13, 7), [0, 2, 1, 0])):
        program = lowered(network([(16, 48)], size, pads), mode)
        (tmp_path / name).mkdir()
        assert forms(program, MACHINES[machine])
        assert differing(program, inputs(program), MACHINES[machine], tmp_path / name) == {}


@pytest.mark.parametrize("form", FORMS)
def test_sums_that_wrap(form, tmp_path: Path, monkeypatch) -> None:
    """Weights and operands are as large as they may be, of one sign or of both."""
    monkeypatch.setattr("stepdown.native.kernels.minimal.FORMS", [form])
    for name, weights in (("ones", np.ones), ("signs", lambda shape: RNG.choice([-1, 1], shape))):
        program = lowered(network([(64, 16)], (9, 8), [1] * 4, weights), "INT8")
        ((key, given),) = inputs(program).items()
        machine = MACHINES["x86-64-v3"]
        (tmp_path / name).mkdir()
        assert forms(program, machine) == [form]
        loud = {key: np.where(given > 0, np.abs(given).max(), -np.abs(given).max()).astype(np.float32)}
        assert differing(program, loud, machine, tmp_path / name) == {}


def test_deep_sums_take_a_form_that_holds_them() -> None:
    program = lowered(network([(2048, 8)], (3, 3), [1] * 4, np.ones), "INT8")
    assert forms(program, MACHINES["x86-64-v3"]) != [FOUR]


def test_processors_with_vnni_sum_pairs_at_once() -> None:
    machine = machine_of(load_chip("x86_64"), "cascadelake")
    code = Code(lowered(network([(64, 64)], (12, 12), [1] * 4), "INT8"), machine, "net")
    text = assembly({n: f for n, f in code.functions.items() if n.endswith("minimal")}, machine)
    assert "vpdpwssd" in text
    assert "vpmaddwd" not in text


LITTLE = 2500
"""Bytes of scratch memory, of which a few rows of tiles fit at a time."""
SHARED = {
    "bands": ((16, 16), (21, 9), 65536, True),
    "bands in rounds": ((16, 16), (45, 9), LITTLE, True),
    "blocks": ((16, 64), (7, 8), 65536, False),
    "blocks of rounds": ((32, 64), (31, 9), 2 * LITTLE, False),
}


@pytest.mark.parametrize("case", SHARED)
def test_threads_share_bands_or_blocks(case, tmp_path: Path, monkeypatch) -> None:
    """As few and as many as there are, threads make the bytes of the reference, and each has something to do."""
    shape, size, scratch_bytes, by_bands = SHARED[case]
    monkeypatch.setattr(steps, "_LEAST_US", 0.0)
    monkeypatch.setattr(steps, "_GRAIN_US", 1.0)
    program = lowered(network([shape], size, [1] * 4), "INT8")
    machine = replace(MACHINES["x86-64-v3"], scratch_bytes=scratch_bytes)
    code = Code(program, machine, "net")
    (at,) = (i for i, call in enumerate(code.network.calls) if isinstance(call.kernel, Minimal))
    plan = code.network.calls[at].kernel.plan
    assert plan.cutting.by_bands == by_bands
    assert ("rounds" in case) == (plan.at_once < plan.bands)
    assert next(step.units for step in code.steps if at in step.calls) > 2
    given = inputs(program)
    wanted = MlirRunner(program).run(given, "all")
    compiled(program, machine, tmp_path).close()
    for threads in (1, 2, 3, 5):
        runner = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=threads))
        got = runner.run(given, "all")
        runner.close()
        assert all(got[name].tobytes() == wanted[name].tobytes() for name in got)


def test_little_memory_and_rest_channels_do_without(tmp_path: Path) -> None:
    program = lowered(network([(16, 20), (20, 16)], (9, 9), [1] * 4), "INT8")
    assert len(forms(program, MACHINES["x86-64-v3"])) == 1
    assert forms(program, replace(MACHINES["x86-64-v3"], scratch_bytes=100)) == []
