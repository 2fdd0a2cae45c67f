"""Whole networks as machine code and as C: every tensor has the bytes of the reference."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from native.compiled import PORTABLE, bytes_apart, compiled, differing, machines, small
from npu.test_networks import QUANTISED, calibrate, inputs, mnist, quantised, resnet8
from onnx import helper
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.errors import UnsupportedModel
from stepdown.formats.onnx.importer import import_model
from stepdown.native.build import assembly
from stepdown.native.code import Code
from stepdown.native.library import write_library
from stepdown.native.machine import machine_of
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
pytestmark = pytest.mark.apart
RNG = np.random.default_rng(5)


def lowered(program: Program, mode: str) -> Program:
    calibrate(program, inputs(program))
    lowering(mode, "x86_64").run(program)
    return program


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", ["INT8", "INT8 asymmetric"])
def test_networks_that_we_quantise(mode, machine, tmp_path: Path) -> None:
    program = lowered({"INT8": resnet8, "INT8 asymmetric": mnist}[mode](), mode)
    assert differing(program, inputs(program), MACHINES[machine], tmp_path, optimise=True) == {}


@pytest.mark.parametrize("name", QUANTISED)
def test_networks_that_tensorflow_quantised(name, tmp_path: Path) -> None:
    program = quantised(name)
    given = {s.name: _stored(s.shape, s.info.type) for s in MlirRunner(program).inputs()}
    assert differing(program, given, MACHINES["x86-64-v3"], tmp_path) == {}


def _stored(shape: tuple[int, ...], kind: str) -> np.ndarray:
    if kind == "i8":
        return RNG.integers(-128, 128, shape).astype(np.int8)
    return RNG.normal(size=shape).astype(np.float32)


def test_pieces_of_rows_make_the_same_bytes(tmp_path: Path) -> None:
    program = lowered(mnist(), "INT8 asymmetric")
    for name, machine in MACHINES.items():
        folder = tmp_path / name
        folder.mkdir()
        assert differing(program, inputs(program), small(machine), folder) == {}


@pytest.mark.parametrize("name", QUANTISED)
def test_networks_that_copy_nothing(name, tmp_path: Path) -> None:
    program = quantised(name)
    given = {s.name: _stored(s.shape, s.info.type) for s in MlirRunner(program).inputs()}
    machine = replace(MACHINES["x86-64-v3"], scratch_bytes=0)
    assert all(call.kernel.scratch is None for call in Code(program, machine, "net").network.calls)
    assert differing(program, given, machine, tmp_path) == {}


def test_tensors_that_share_memory_keep_the_outputs(tmp_path: Path) -> None:
    program = lowered(resnet8(), "INT8")
    given = inputs(program)
    runner = compiled(program, PORTABLE, tmp_path, debug=False)
    outputs = runner.run(given)
    assert runner.run(given, "all").keys() == {*program.output_names, *(op.tensor_name for op in program.input_ops)}
    for name, wanted in MlirRunner(program).run(given).items():
        assert bytes_apart(outputs[name], wanted) == 0
    tight = replace(PORTABLE, scratch_bytes=0)
    kept = Code(program, tight, "net", keep_all=True).activations_bytes
    assert Code(program, tight, "net").activations_bytes < kept / 2


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    program = lowered(mnist(), "INT8")
    for name in ("a.so", "b.so"):
        write_library(Code(program, MACHINES["x86-64"], "net"), tmp_path / name)
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()


def test_integers_may_be_given_for_a_float_input(tmp_path: Path) -> None:
    program = lowered(mnist(), "INT8")
    runner = compiled(program, PORTABLE, tmp_path)
    (spec,) = runner.inputs()
    given = RNG.integers(0, 100, spec.shape).astype({"i8": np.int8, "u8": np.uint8}[spec.info.type])
    wanted = MlirRunner(program).run({spec.name: given})
    assert {n: a.tobytes() for n, a in runner.run({spec.name: given}).items()} == {
        n: a.tobytes() for n, a in wanted.items()
    }


def test_all_ops_without_code_are_named() -> None:
    nodes = [helper.make_node("Det", ["x"], ["h"]), helper.make_node("Det", ["h"], ["y"])]
    given, made = (helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [2, 2, 3, 3]), ("y", [])))
    graph = helper.make_graph(nodes, "none", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = import_model(onnx.shape_inference.infer_shapes(model), "none")
    lowering("F32", "x86_64").run(program)
    with pytest.raises(UnsupportedModel, match=r"tpu\.Det 'h_Det'.*; tpu\.Det 'y_Det'"):
        Code(program, PORTABLE, "net")


def test_vectors_of_riscv_are_not_cut_off() -> None:
    """QEMU 7.2 stops at conversions with a rounding of their own (its issue 1441)."""
    machine = machine_of(load_chip("riscv64"), features="+m,+a,+f,+d,+c,+v")
    text = assembly(Code(quantised("kws_dscnn"), machine, "net").functions, machine)
    assert "vfdiv" in text
    assert not re.search(r"vf\w*cvt\.r\w\w\.", text)
