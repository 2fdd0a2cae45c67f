"""Code for single ops: the machine makes the bytes of the reference interpreter, tiled or not."""

from dataclasses import replace

import numpy as np
import pytest
from npu.machines import differences, run_code
from transforms.test_lowering import calibrate, example_of, feed, lower, program_of

from stepdown.chips import Chip, load_chip
from stepdown.errors import ResourceError, UnsupportedModel
from stepdown.npu.codegen import generate
from stepdown.npu.isa import decode
from stepdown.npu.kernels import KERNELS
from stepdown.runtimes.mlir import MlirRunner

MOVES = ("Transpose", "Concat", "Split", "Slice", "Pad", "Expand", "Reshape", "ResizeNearest")
TABLES = ("Sigmoid", "HardSwish", "Gelu", "Relu", "LeakyRelu")
MODES = ("F16", "BF16", "INT8", "INT8 asymmetric")
RNG = np.random.default_rng(11)
LARGE = {
    "Conv": (
        (2, 12, 15, 11), (18, 4, 3, 3), {"strides": [2, 1], "pads": [1, 2, 2, 0], "dilations": [1, 2], "group": 3},
    ),
    "MatMul": ((7, 37), (37, 21), {}),
    "ConvTranspose": (
        (1, 10, 7, 6), (10, 9, 3, 4),
        {"strides": [2, 3], "pads": [1, 1, 0, 2], "dilations": [1, 1], "group": 1, "output_padding": [0, 0]},
    ),
}  # fmt: skip


def machine(lanes: int = 8, local_bytes: int = 1 << 16) -> Chip:
    return replace(load_chip("bm1684x"), lanes=lanes, local_bytes=local_bytes, banks=16)


def lowered(name: str, mode: str, arrays: list, attributes: dict):
    top, program = (program_of(name, arrays, attributes) for _ in range(2))
    given = feed(arrays, top)
    if "INT8" in mode:
        calibrate(program, MlirRunner(top).run(given, "all"))
    lower(program, mode)
    return program, given


def large(name: str) -> tuple[list, dict]:
    if name in LARGE:
        x, w, attributes = LARGE[name]
        bias = w[0] if name == "Conv" else w[1]
        return [RNG.normal(size=shape).astype(np.float32) for shape in (x, w, (bias,))], attributes
    if name in ("MaxPool", "AveragePool"):
        window = {
            "kernel_shape": (3, 2),
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "dilations": (1, 1),
            "ceil_mode": True,
        }
        return [RNG.normal(size=(2, 19, 14, 9)).astype(np.float32)], window
    if name.startswith("Reduce"):
        return [RNG.normal(size=(2, 19, 6, 5)).astype(np.float32)], {"axes": (2, 3), "keepdims": False}
    if name in ("Add", "Sub", "Mul", "Max", "Min"):
        return [RNG.normal(size=shape).astype(np.float32) for shape in ((2, 19, 6, 5), (2, 1, 6, 1))], {}
    if name in TABLES:
        return [RNG.normal(size=(2, 19, 6, 5)).astype(np.float32) * 3], {}
    return example_of(name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*(n for n in KERNELS if n not in ("Convert", "Rescale", "Lut")), *TABLES, *MOVES])
def test_an_op_is_to_the_byte_what_the_reference_makes(name: str, mode: str) -> None:
    program, given = lowered(name, mode, *large(name))
    wanted, got = run_code(program, given, machine(), poison=3, shuffle=4)
    assert not differences(wanted, got)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Relu", {}), ("Relu", {"relu_limit": 1.3}), ("Clip", {"min": -0.7, "max": 1.1}), ("Clip", {"min": -0.3}),
        ("HardSwish", {}), ("HardSigmoid", {}), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.45}),
    ],
)  # fmt: skip
def test_functions_of_f32_that_are_steps_have_the_bytes_of_the_reference(name: str, attributes: dict) -> None:
    x = RNG.normal(size=(2, 19, 6, 5)).astype(np.float32) * 3
    x[0, 0, 0] = 0.0, -0.0, np.inf, -np.inf, 1e-40
    program, given = lowered(name, "F32", [x], attributes)
    wanted, got = run_code(program, given, machine(local_bytes=1 << 10), poison=3, shuffle=4)
    assert not differences(wanted, got)


@pytest.mark.parametrize("local_bytes", [1 << 10, 1 << 11, 1 << 12])
@pytest.mark.parametrize("name", ["Conv", "AveragePool", "Add", "Sigmoid"])
def test_little_memory_makes_more_tiles_and_the_same_bytes(name: str, local_bytes: int) -> None:
    program, given = lowered(name, "INT8 asymmetric", *large(name))
    chip = machine(lanes=4, local_bytes=local_bytes)
    wanted, got = run_code(program, given, chip, poison=5, shuffle=6)
    assert not differences(wanted, got)
    wide = generate(program, machine(lanes=4, local_bytes=1 << 16))
    narrow = generate(program, chip)
    counts = [len(decode(code.streams["compute"], "compute")) for code in (wide, narrow)]
    assert counts[0] <= counts[1]
    if local_bytes == 1 << 10:
        assert counts[0] < counts[1]


def test_what_does_not_fit_or_has_no_command_is_named() -> None:
    program, _ = lowered("Conv", "INT8", *large("Conv"))
    with pytest.raises(ResourceError, match="one row of it does not fit the 64 bytes of a lane") as caught:
        generate(program, machine(lanes=4, local_bytes=64))
    assert 'tpu.Convert loc("in0")' in str(caught.value)
    program, _ = lowered("Softmax", "INT8", *example_of("Softmax"))
    with pytest.raises(UnsupportedModel, match=r'tpu.Softmax loc\("out"\): no command computes it'):
        generate(program, machine())


def test_the_same_network_has_the_same_bytes() -> None:
    program, _ = lowered("Conv", "INT8", *large("Conv"))
    first, second = (generate(program, machine()) for _ in range(2))
    assert first.streams == second.streams
    assert first.layers == second.layers
