"""--native-io: integers and 16-bit floats in and out, and all tensors as they were."""

from pathlib import Path

import numpy as np
import pytest
from npu.test_networks import calibrate, inputs, mnist
from targets import lowering

from stepdown.dialects.program import Program
from stepdown.dialects.text import parse_module, print_module
from stepdown.errors import InputError
from stepdown.files.npz import TensorInfo
from stepdown.npu.passes.codegen import Codegen
from stepdown.runtimes import open_runner
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.native_io import NativeIo

VIEWS = {"INT8": "input_f32", "F16": "input_f16", "BF16": "input_bf16"}
"""By mode, the name of the input's copy in the other type."""


def lowered(mode: str) -> tuple[Program, dict[str, np.ndarray]]:
    program = mnist()
    given = inputs(program)
    if mode == "INT8":
        calibrate(program, given)
    lowering(mode, "bm1684x").run(program)
    return program, given


@pytest.mark.parametrize("mode", VIEWS)
def test_the_network_computes_what_it_did(mode: str, tmp_path: Path) -> None:
    program, given = lowered(mode)
    wanted = MlirRunner(program).run(given, "all")
    NativeIo().run(program)
    again = Program(parse_module(print_module(program.module)), program.weights)
    runner = MlirRunner(again)
    got = runner.run(given, "all")
    renamed = {"input": wanted["input" if mode == "INT8" else VIEWS[mode]]}
    gone = {VIEWS[mode], "output_Gemm_f32"}
    assert {n: a.tobytes() for n, a in got.items()} == {
        n: a.tobytes() for n, a in {**wanted, **renamed}.items() if n not in gone
    }
    (spec,) = runner.inputs()
    assert (spec.name, spec.info.type) == ("input", {"INT8": "i8"}.get(mode, mode.lower()))
    assert [each.name for each in runner.outputs()] == ["output_Gemm"]
    path = str(tmp_path / "net.bmodel")
    Codegen(model_file=path).run(program)
    machine = open_runner(path)
    assert machine.inputs() == runner.inputs()
    for array in (given["input"], renamed["input"]):
        assert {n: a.tobytes() for n, a in machine.run({"input": array}, "all").items()} == {
            n: a.tobytes() for n, a in got.items()
        }


def test_one_side_alone_and_a_network_without_conversions() -> None:
    program, given = lowered("F16")
    NativeIo(inputs=False).run(program)
    assert MlirRunner(program).inputs()[0].info == TensorInfo("f32")
    assert MlirRunner(program).outputs()[0].info.type == "f16"
    text = print_module(program.module)
    NativeIo(inputs=False).run(program)
    assert print_module(program.module) == text
    assert MlirRunner(program).run(given)["output_Gemm"].dtype == np.float16


def test_a_module_that_is_not_lowered_is_refused() -> None:
    with pytest.raises(InputError, match="is in state TOP_F32, want TPU_LOWERED"):
        NativeIo().run(mnist())
