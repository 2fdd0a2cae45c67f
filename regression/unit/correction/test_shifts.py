"""Shifting keeps the float function, puts ranges about zero where biases can, and lowers the error of INT8."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from correction.nets import CHANNELS, SIZE, outputs, write_samples, write_table

from stepdown.correction.passes.shift_channels import ShiftChannels
from stepdown.correction.shifts import Extent, best_shifts, find_shiftable
from stepdown.dialects.op import TensorOp, fused_of, is_internal, value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.activation import Relu
from stepdown.dialects.top.arithmetic import Add
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.top.reduce import ReduceMean
from stepdown.dialects.top.source import Absent, Input, Weight
from stepdown.dialects.types import tensor
from stepdown.errors import InputError
from stepdown.transforms.convert_top_to_tpu import ConvertTopToTpu
from stepdown.transforms.dce import Dce
from stepdown.transforms.import_calibration_table import ImportCalibrationTable


def residual_net(kernel: int = 1, between: Callable[[Program, object], object] = lambda _, x: x) -> Program:
    """Return two convolutions without ReLU that are added, then two that read the sum, a mean, and classes.

    The biases put the channels of the sum far from zero. One reader has no bias; `kernel` is the size of the other's
    window, with padding where it is over 1. `between` stands between the sum and the readers.
    """
    rng = np.random.default_rng(0)
    program = Program.empty("residual", {"x": tensor((1, 3, SIZE, SIZE), "f32")}, "ONNX")

    def weight(key: str, array: np.ndarray) -> object:
        program.weights[key] = array.astype(np.float32)
        return program.add(Weight.of(key, tensor(array.shape, "f32")))

    def conv(name: str, x: object, size: int, bias: float, **more: object) -> object:
        inputs = x.type.get_shape()[1]  # type: ignore[attr-defined]
        w = weight(f"{name}.w", rng.normal(size=(CHANNELS, inputs, size, size)) / size)
        b = weight(f"{name}.b", rng.normal(size=CHANNELS) * bias) if bias else program.add(Absent.make())
        window = {"strides": [1, 1], "dilations": [1, 1], "pads": [size // 2] * 4, "group": 1}
        return program.add(Conv.build(name, [x, w, b], **window, **more))  # type: ignore[arg-type, list-item]

    x = program.add(Input.build("x", [program.block.args[0]]))
    left, right = conv("left", x, 3, 20.0), conv("right", x, 1, 10.0)
    joined = between(program, program.add(Add.build("joined", [left, right])))  # type: ignore[list-item]
    near, wide = conv("near", joined, 1, 0.0, do_relu=True), conv("wide", joined, kernel, 1.0, do_relu=True)
    both = program.add(Add.build("both", [near, wide]))  # type: ignore[list-item]
    pooled = program.add(ReduceMean.build("pooled", [both], axes=[2, 3], keepdims=False))
    classes = weight("classes.w", rng.normal(size=(CHANNELS, 10)))
    absent = program.add(Absent.make())
    program.finish([program.add(MatMul.build("classes", [pooled, classes, absent]))])  # type: ignore[list-item]
    return program


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples to learn from, and others."""
    root = tmp_path_factory.mktemp("samples")
    return write_samples(root / "seen", 12), write_samples(root / "unseen", 24, seed=2)


def shifted(program: Program, folder: Path) -> Program:
    ShiftChannels(str(folder)).run(program)
    Dce().run(program)
    return program


def test_tensors_between_biases_move(folders: tuple[Path, Path]) -> None:
    found = find_shiftable(residual_net())
    assert [value_name(v) for v in found.forms] == ["left", "right", "joined"]
    assert [op.tensor_name for op in found.readers] == ["near", "wide"]


def test_shifting_keeps_the_function(folders: tuple[Path, Path]) -> None:
    program = shifted(residual_net(), folders[0])
    moved = [op for op in program.ops if op.tensor_name.endswith("_shifted") and op.name != "top.Weight"]
    assert [op.tensor_name for op in moved] == ["left_shifted", "right_shifted", "joined_shifted"]
    assert all(is_internal(op) and fused_of(op) for op in moved)
    for folder in folders:
        np.testing.assert_allclose(outputs(program, folder), outputs(residual_net(), folder), rtol=1e-4, atol=1e-4)


def relu_between(program: Program, x: object) -> object:
    return program.add(Relu.build("positive", [x]))  # type: ignore[list-item]


@pytest.mark.parametrize("net", [residual_net(3), residual_net(between=relu_between)], ids=["padding", "relu"])
def test_a_tensor_stays_where_zeros_are_read_with_it_or_it_is_clipped(net: Program) -> None:
    assert not find_shiftable(net).forms


def test_ranges_lie_about_zero_after_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def threshold(program: Program, name: str) -> float:
        lines = Path(write_table(program, folders[0], tmp_path / "table")).read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name))

    program = shifted(residual_net(), folders[0])
    for name in ("left", "right", "joined"):
        assert threshold(program, name) < 0.5 * threshold(residual_net(), name)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_shifting_lowers_the_error_on_unseen_samples(
    asymmetric: bool, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    wanted, errors = outputs(residual_net(), folders[1]), []
    for program in (residual_net(), shifted(residual_net(), folders[0])):
        table = write_table(program, folders[0], tmp_path / "table")
        ImportCalibrationTable(table, asymmetric).run(program)
        ConvertTopToTpu("INT8", "bm1684x", asymmetric).run(program)
        errors.append(np.square(outputs(program, folders[1]) - wanted).mean())
    assert errors[1] < 0.5 * errors[0]


def test_shifts_that_a_sum_ties_are_the_best_in_all() -> None:
    """No other shift of one of them is better, by a search with small steps."""
    found = find_shiftable(residual_net())
    rng = np.random.default_rng(1)
    extents = {v: Extent(rng.normal(size=CHANNELS), rng.uniform(0.1, 1, size=CHANNELS)) for v in found.forms}
    best = best_shifts(found, extents)

    def cost(shifts: dict[TensorOp, np.ndarray]) -> np.ndarray:
        return sum(np.square(e.reach(found.shift_of(v, shifts))) for v, e in extents.items())

    for op in best:
        for step in (-0.01, 0.01):
            assert (cost(best) <= cost({**best, op: best[op] + step}) + 1e-9).all()


def test_a_calibrated_module_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    program = residual_net()
    with pytest.raises(InputError, match="either dataset"):
        ShiftChannels().run(program)
    ImportCalibrationTable(write_table(program, folders[0], tmp_path / "table")).run(program)
    with pytest.raises(InputError, match="float module"):
        ShiftChannels(str(folders[0])).run(program)
