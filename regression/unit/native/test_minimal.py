"""Convolutions by minimal filtering have the bytes of the reference, also where their sums leave 32 bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native.compiled import differing, machines
from native.graphs import program_of
from native.test_networks import lowered
from npu.test_networks import inputs
from onnx import helper, numpy_helper

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.native.build import assembly
from stepdown.native.code import Code
from stepdown.native.kernels.minimal import Minimal
from stepdown.native.kernels.minimal_forms import FORMS, FOUR, Form
from stepdown.native.machine import Machine, machine_of

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


def test_little_memory_and_rest_channels_do_without(tmp_path: Path) -> None:
    program = lowered(network([(16, 20), (20, 16)], (9, 9), [1] * 4), "INT8")
    assert len(forms(program, MACHINES["x86-64-v3"])) == 1
    assert forms(program, replace(MACHINES["x86-64-v3"], scratch_bytes=100)) == []
