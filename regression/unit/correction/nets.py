"""A small network as mobile ones are built, with channels of very different ranges, and samples for it."""

from pathlib import Path

import numpy as np

from stepdown.dialects.op import value_name
from stepdown.dialects.program import Program
from stepdown.dialects.top.arithmetic import Add
from stepdown.dialects.top.mac import Conv, MatMul
from stepdown.dialects.top.reduce import ReduceMean
from stepdown.dialects.top.source import Input, Weight
from stepdown.dialects.types import tensor
from stepdown.runtimes.mlir import MlirRunner
from stepdown.transforms.import_calibration_table import float_values

SIZE, CHANNELS = 8, 6


def mobile_net(relu_limit: float = -1.0, outlier: float = 1.0) -> Program:
    """Return conv, then expand, depthwise and project with a residual, then mean and classes.

    The first weight of every row is `outlier` times larger, so that the others are rounded coarsely.
    """
    rng = np.random.default_rng(0)
    program = Program.empty("mobile", {"x": tensor((1, 3, SIZE, SIZE), "f32")}, "ONNX")
    relu = {"do_relu": True, "relu_limit": relu_limit}

    def weight(key: str, array: np.ndarray) -> object:
        program.weights[key] = array.astype(np.float32)
        return program.add(Weight.of(key, tensor(array.shape, "f32")))

    def conv(name: str, x: object, outputs: int, kernel: int, group: int = 1, **more: object) -> object:
        inputs = x.type.get_shape()[1] // group  # type: ignore[attr-defined]
        w = rng.normal(size=(outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel * kernel)
        w *= np.exp2(rng.uniform(-4, 1, size=(outputs, 1, 1, 1)))
        w[:, 0, 0, 0] *= outlier
        operands = [x, weight(f"{name}.w", w), weight(f"{name}.b", rng.normal(size=outputs) * 0.1)]
        pads = [kernel // 2] * 4
        window = {"strides": [1, 1], "dilations": [1, 1], "pads": pads, "group": group}
        return program.add(Conv.build(name, operands, **window, **more))  # type: ignore[arg-type]

    x = program.add(Input.build("x", [program.block.args[0]]))
    stem = conv("stem", x, CHANNELS, 3)
    wide = conv("depthwise", conv("expand", stem, 24, 1, **relu), 24, 3, 24, **relu)
    joined = program.add(Add.build("joined", [stem, conv("project", wide, CHANNELS, 1)]))  # type: ignore[list-item]
    pooled = program.add(ReduceMean.build("pooled", [joined], axes=[2, 3], keepdims=False))
    classes = weight("classes.w", rng.normal(size=(CHANNELS, 10)))
    program.finish([program.add(MatMul.build("classes", [pooled, classes, weight("classes.b", np.zeros(10))]))])  # type: ignore[list-item]
    return program


def write_samples(folder: Path, count: int, seed: int = 1) -> Path:
    """Write npz samples into a new folder and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        np.savez(folder / f"{number:03}.npz", x=rng.normal(size=(1, 3, SIZE, SIZE)).astype(np.float32))
    return folder


def outputs(program: Program, folder: Path) -> np.ndarray:
    """Return the program's first output for all samples of a folder."""
    runner = MlirRunner(program)
    return np.stack([next(iter(runner.run(dict(np.load(f))).values())) for f in sorted(folder.iterdir())])


def write_table(program: Program, folder: Path, path: Path) -> str:
    """Write a calibration table of the least and greatest values over a folder's samples."""
    runner, found = MlirRunner(program), {}
    for file in sorted(folder.iterdir()):
        for name, array in runner.run(dict(np.load(file)), "all").items():
            low, high = found.get(name, (0.0, 0.0))
            found[name] = min(low, float(array.min())), max(high, float(array.max()))
    names = [value_name(v) for v in float_values(program)]
    rows = [f"{n} {max(-found[n][0], found[n][1])} {found[n][0]} {found[n][1]}" for n in names]
    path.write_text("\n".join(rows) + "\n")
    return str(path)
