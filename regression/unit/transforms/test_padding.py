"""Pads before convolutions and pools go into their windows where that is the same, and nowhere else."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from formats.tflite.quantized_cases import Sheet
from formats.tflite.tflite_models import Reference, Tensor, model
from native.compiled import PORTABLE, differing
from onnx import helper, numpy_helper

from stepdown.dialects.op import fused_of
from stepdown.dialects.program import Program
from stepdown.formats.onnx.importer import import_model
from stepdown.formats.tflite.importer import import_tflite
from stepdown.formats.tflite.loader import parse_tflite
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.canonicalize import Canonicalize
from stepdown.transforms.convert_quantized_to_tpu import ConvertQuantizedToTpu
from stepdown.transforms.fuse_pads import FusePads
from stepdown.transforms.layout import Layout

SHAPE = (1, 4, 7, 6)
Part = tuple[list[Any], list[Any]]


def pads(
    begins: tuple[int, ...] = (0, 0, 1, 1), ends: tuple[int, ...] = (0, 0, 1, 1), value: float = 0.0, **more: Any
) -> Part:
    """Return a Pad of x as ONNX nodes and constants."""
    held = [numpy_helper.from_array(np.array([*begins, *ends]), "sides"), scalar("value", value)]
    return [helper.make_node("Pad", ["x", "sides", "value"], ["padded"], **more)], held


def scalar(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)


def conv(result: str = "y", channels: int = 4, group: int = 1, **more: Any) -> Part:
    """Return a Conv of a kernel of 3 × 3 as ONNX nodes and constants."""
    filter = np.random.default_rng(3).standard_normal((4, channels // group, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["padded", f"{result}.weight"], [result], group=group, **more)
    return [node], [numpy_helper.from_array(filter, f"{result}.weight")]


def pool(kind: str, **more: Any) -> Part:
    """Return a pool over windows of 3 × 3."""
    return [helper.make_node(kind, ["padded"], ["y"], kernel_shape=[3, 3], **more)], []


def relu() -> Part:
    """Return a Relu, after which nothing is below 0."""
    return [helper.make_node("Relu", ["a"], ["x"])], []


def imported(*parts: Part, outputs: tuple[str, ...] = ("y",)) -> Program:
    nodes, held = ([item for part in parts for item in part[at]] for at in (0, 1))
    given = [helper.make_tensor_value_info(nodes[0].input[0], onnx.TensorProto.FLOAT, SHAPE)]
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "net", given, made, held)
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "net")


FUSED = {
    "all sides": (pads(), conv(strides=[2, 2])),
    "one side": (pads((0, 0, 0, 0), (0, 0, 1, 1)), conv(strides=[2, 2])),
    "uneven": (pads((0, 0, 2, 0), (0, 0, 1, 3)), conv(strides=[2, 1])),
    "own pads besides": (pads((0, 0, 0, 1), (0, 0, 1, 0)), conv(pads=[1, 1, 0, 0])),
    "dilated": (pads((0, 0, 2, 2), (0, 0, 2, 1)), conv(dilations=[2, 2])),
    "grouped": (pads(), conv(group=2)),
    "depthwise": (pads((0, 0, 0, 0), (0, 0, 1, 1)), conv(group=4, strides=[2, 2])),
    "mean that counts": (pads(), pool("AveragePool", strides=[2, 2], count_include_pad=1)),
    "mean without pads": (pads(), pool("AveragePool", strides=[2, 2])),
    "maximum after a ReLU": (relu(), pads(), pool("MaxPool", strides=[2, 2], pads=[1, 0, 0, 0])),
}  # fmt: skip

KEPT = {
    "another value": (pads(value=1.0), conv()),
    "channels": (pads((0, 0, 1, 1), (0, 1, 1, 1)), conv(channels=5)),
    "edges repeated": (pads(mode="edge"), conv()),
    "rows cut off": (pads((0, 0, -1, 1)), conv()),
    "mean of what is inside": (pads(), pool("AveragePool", pads=[1, 1, 1, 1])),
    "mean of padding alone": (pads((0, 0, 3, 0)), pool("AveragePool")),
    "maximum of any sign": (pads(), pool("MaxPool", strides=[2, 2])),
    "maximum of padding alone": (relu(), pads((0, 0, 3, 0)), pool("MaxPool")),
    "maximum with gaps": (relu(), pads(), pool("MaxPool", dilations=[2, 2])),
}  # fmt: skip


def check(*parts: Part, outputs: tuple[str, ...] = ("y",)) -> int:
    """Canonicalise a network; every tensor that is left keeps its bytes. Return how many Pads are left."""
    before, after = imported(*parts, outputs=outputs), imported(*parts, outputs=outputs)
    Canonicalize().run(after)
    given = {MlirRunner(before).inputs()[0].name: np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}
    wanted, found = MlirRunner(before).run(given, "all"), MlirRunner(after).run(given, "all")
    assert after.output_names == before.output_names
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in found)
    assert wanted.keys() == found.keys() | {name for op in after.ops for name in fused_of(op)}
    return left(after)


def left(program: Program) -> int:
    return sum(op.name.endswith(".Pad") for op in program.ops)


@pytest.mark.parametrize("case", FUSED)
def test_pads_that_are_fused(case: str) -> None:
    assert check(*FUSED[case]) == 0


@pytest.mark.parametrize("case", KEPT)
def test_pads_that_stay(case: str) -> None:
    assert check(*KEPT[case]) == 1


def test_all_convolutions_that_read_a_pad_take_it_over() -> None:
    assert check(pads(), conv("y"), conv("z", strides=[2, 2]), outputs=("y", "z")) == 0


def test_a_pad_that_others_read_stays_for_all() -> None:
    other = [helper.make_node("Sigmoid", ["padded"], ["z"])], []
    assert check(pads(), conv(), other, outputs=("y", "z")) == 1
    assert check(pads(), conv(), outputs=("y", "padded")) == 1


def sheet(op: str, sides: list[int], zero_point: int = -128, value: int | None = None, moved: int = 0) -> Sheet:
    """Return a quantised Pad of [N, H, W, C], and what reads it; the padded tensor's zero point is `moved`."""
    made = Sheet(seed=len(op) + sum(sides))
    x = made.given((1, 7, 6, 4), scale=0.05, zero_point=zero_point)
    size = 7 + sides[0] + sides[1], 6 + sides[2] + sides[3]
    padded = made.tensor((1, *size, 4), 0.05, zero_point + moved)
    filled = [] if value is None else [Tensor("fill", (1,), "int8", 0.05, zero_point, array=np.array([value], np.int8))]
    made.tensors |= {t.name: t for t in filled}
    rows = made.plain(np.reshape([0, 0, *sides, 0, 0], (4, 2)))
    made.op("PADV2" if filled else "PAD", [x, rows, *filled], [padded])
    read(made, op, padded, [(n - 3) // 2 + 1 for n in size])
    return made


def read(made: Sheet, op: str, padded: Tensor, size: list[int]) -> None:
    """Add an operator with a window of 3 × 3, in steps of 2."""
    window: dict[str, Any] = {"strideH": 2, "strideW": 2, "padding": 1}
    if op.endswith("POOL_2D"):
        result = made.tensor((1, *size, 4), padded.scale, padded.zero_point)
        made.op(op, [padded], [result], **window, filterHeight=3, filterWidth=3)
        return
    depthwise = op.startswith("DEPTHWISE")
    weight = made.weight((1, 3, 3, 4) if depthwise else (5, 3, 3, 4), 3 if depthwise else 0)
    result = made.tensor((1, *size, 4 if depthwise else 5), 0.5, 3)
    bias = made.bias(np.float64(0.05) * np.asarray(weight.scale), result)
    made.op(op, [padded, weight, bias], [result], **window, **({"depthMultiplier": 1} if depthwise else {}))


STORED = {
    "convolution": (sheet("CONV_2D", [1, 1, 1, 1]), 0),
    "one side": (sheet("CONV_2D", [0, 1, 0, 1], zero_point=5), 0),
    "depthwise": (sheet("DEPTHWISE_CONV_2D", [0, 1, 1, 2], zero_point=5), 0),
    "filled with the zero point": (sheet("CONV_2D", [0, 1, 0, 1], zero_point=5, value=5), 0),
    "filled otherwise": (sheet("CONV_2D", [0, 1, 0, 1], zero_point=5, value=6), 1),
    "another zero point": (sheet("CONV_2D", [1, 1, 1, 1], zero_point=5, moved=1), 1),
    "maximum": (sheet("MAX_POOL_2D", [1, 1, 1, 1]), 0),
    "maximum of any sign": (sheet("MAX_POOL_2D", [1, 1, 1, 1], zero_point=-127), 1),
    "mean": (sheet("AVERAGE_POOL_2D", [1, 1, 1, 1], zero_point=5), 1),
}


@pytest.mark.parametrize("case", STORED)
def test_stored_integers_are_those_of_litert(case: str) -> None:
    made, pads_left = STORED[case]
    program = lowered(made)
    assert left(program) == pads_left
    ours, theirs = MlirRunner(program).run(made.arrays, "all"), Reference(content(made)).run(made.arrays)
    fused = {name for op in program.ops for name in fused_of(op)}
    assert {name for op in made.ops for name in op.outputs} <= ours.keys() | fused
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours.keys() & theirs.keys())


def content(made: Sheet) -> bytes:
    return model(made.ops, list(made.tensors.values()))


def lowered(made: Sheet) -> Program:
    program = import_tflite(parse_tflite(content(made), "pads.tflite"), "pads")
    for each in (Layout(), FusePads(), ConvertQuantizedToTpu(profile="tflite")):
        each.run(program)
    return program


def test_native_code_of_fused_pads_has_the_bytes_of_the_reference(tmp_path: Path) -> None:
    made, _ = STORED["depthwise"]
    assert differing(lowered(made), made.arrays, PORTABLE, tmp_path) == {}
