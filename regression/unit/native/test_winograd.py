"""Convolutions of 3 × 3 by tiles: exact matrices, and sums in f32 within the bound that follows from them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from native.compiled import compiled, machines
from native.graphs import program_of
from native.identity_rows import ROWS, run_row
from onnx import helper, numpy_helper
from targets import lowering

from stepdown.dialects.program import Program
from stepdown.native import steps
from stepdown.native.cook_toom import POINTS, TAPS, Matrix, MinimalFilter
from stepdown.native.kernels.conv import FloatConvolution, Mac
from stepdown.native.kernels.half import HalfWinograd
from stepdown.native.kernels.winograd import Winograd
from stepdown.native.machine import Machine
from stepdown.native.network import network_of
from stepdown.numerics.floats import ROUND
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

MACHINES = machines()
RNG = np.random.default_rng(5)
UNIT = 2.0**-24
ROUNDED = {"F16": 2.0**-11, "BF16": 2.0**-8}
"""What rounding to nearest changes a number by at most, by mode."""
EMULATED = {"aarch64 A53": "F32", "riscv64 GCV": "BF16", "riscv64 GC": "F32"}
"""A mode by row of the bit-identity matrix."""
SHAPES = {
    "F(4), two blocks, rests down and across": ((1, 70, 15, 11), 20, (1, 1, 1, 1), 4),
    "F(4), two images, padding on one side": ((2, 24, 16, 11), 19, (0, 1, 2, 0), 4),
    "F(2), no padding": ((1, 96, 8, 8), 64, (0, 0, 0, 0), 2),
}
"""Input, output channels, padding, and the results of a tile."""


@pytest.mark.parametrize("results", POINTS)
def test_the_matrices_are_a_filter(results) -> None:
    """Σ over places of Aᵀ·G·Bᵀ is 1 where operand = result + tap, and else 0."""
    made = MinimalFilter(results)
    for tap in range(TAPS):
        for operand in range(made.size):
            sums = [
                sum(
                    (a * g[tap] * b[operand] for a, g, b in zip(row, made.of_weights, made.inward, strict=True)),
                    start=Fraction(0),
                )
                for row in made.outward
            ]
            assert sums == [operand == result + tap for result in range(results)]


def convolution(
    shape: tuple[int, ...], out: int, pads: tuple[int, ...], mode: str = "F32"
) -> tuple[Program, np.ndarray, np.ndarray]:
    """Return a network of one convolution with a ReLU, its weights and its bias."""
    weights = RNG.normal(size=[out, shape[1], TAPS, TAPS]).astype(np.float32)
    bias = RNG.normal(size=out).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["sums"], kernel_shape=[TAPS, TAPS], pads=pads),
        helper.make_node("Relu", ["sums"], ["y"]),
    ]
    held = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    given, made = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)
    program = program_of("tiles", nodes, [given], [made], held)
    lowering(mode, "x86_64").run(program)
    return program, weights.astype(np.float64), bias.astype(np.float64)


def convolutions(program: Program, machine: Machine) -> list[Mac]:
    return [call.kernel for call in network_of(program, machine).calls if isinstance(call.kernel, Mac)]


def twice(matrix: Matrix, square: np.ndarray) -> np.ndarray:
    """Return |matrix| · |square| · |matrix|ᵀ over the last two dimensions."""
    size = np.abs(np.array(matrix, dtype=np.float64))
    return size @ np.abs(square) @ size.T


def windows(x: np.ndarray, size: int, step: int) -> np.ndarray:
    """Return x[N, C, H, W] in windows [N, C, down, across, size, size]."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::step, ::step]


def bound(x: np.ndarray, weights: np.ndarray, results: int, out: tuple[int, int]) -> np.ndarray:
    """Return what the error of no result exceeds: γ of the roundings on the longest way, times all that is summed.

    Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1; each of six products with a constant matrix
    of n columns rounds n products, as many sums, and its constants.
    """
    made = MinimalFilter(results)
    fill = [(0, -size % results) for size in out]
    padded = np.pad(x, ((0, 0), (0, 0), *fill))
    inward = twice(made.inward, windows(padded, made.size, results))
    products = np.einsum("ncijpq,ocpq->noijpq", inward, twice(made.of_weights, weights), optimize=True)
    tiles = twice(made.outward, products).swapaxes(3, 4)
    n, o, down, _, across, _ = tiles.shape
    whole = tiles.reshape(n, o, down * results, across * results)[:, :, : out[0], : out[1]]
    roundings = 6 * (2 * made.size + 1) + x.shape[1] + 2
    return roundings * UNIT / (1 - roundings * UNIT) * whole


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("case", SHAPES)
def test_sums_are_within_their_bound(case, machine, tmp_path: Path) -> None:
    shape, out, pads, results = SHAPES[case]
    program, weights, bias = convolution(shape, out, pads)
    (kernel,) = convolutions(program, MACHINES[machine])
    assert isinstance(kernel, Winograd) and kernel.tiling.filter.results == results
    x = RNG.normal(size=shape).astype(np.float32)
    (got,) = compiled(program, MACHINES[machine], tmp_path, debug=False).run({"x": x}).values()
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pads[::2], pads[1::2]))
    sums = np.einsum("ncijpq,ocpq->noij", windows(padded, TAPS, 1), weights, optimize=True)
    wanted = np.maximum(sums + bias[:, None, None], 0)
    limit = bound(padded, weights, results, got.shape[2:]) + 2 * UNIT * np.abs(bias).max()
    apart = np.abs(got - wanted)
    assert (apart <= limit).all()
    assert apart.max() < 2e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("mode", ROUNDED)
def test_halves_are_summed_in_f32_and_rounded_once(mode, tmp_path: Path) -> None:
    """Their products are those of the rounded numbers; result and reference are rounded once each."""
    shape, out, pads, results = SHAPES["F(4), two images, padding on one side"]
    program, weights, bias = convolution(shape, out, pads, mode)
    (kernel,) = convolutions(program, MACHINES["x86-64-v3"])
    assert isinstance(kernel, HalfWinograd)
    to_half, unit = ROUND[mode.lower()], ROUNDED[mode]
    x = to_half(RNG.normal(size=shape)).astype(np.float32)
    (got,) = compiled(program, MACHINES["x86-64-v3"], tmp_path, debug=False).run({"x": x}).values()
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pads[::2], pads[1::2]))
    held = to_half(weights).astype(np.float64)
    sums = np.einsum("ncijpq,ocpq->noij", windows(padded, TAPS, 1), held, optimize=True)
    wanted = np.maximum(sums + bias[:, None, None], 0)
    limit = bound(padded, held, results, got.shape[2:]) + 2 * UNIT * np.abs(bias).max()
    assert (np.abs(got - wanted) <= limit + unit * (np.abs(wanted) + limit)).all()


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in EMULATED], ids=lambda row: row.name)
def test_other_processors(row, tmp_path: Path) -> None:
    """Sums are those of this processor but for the roundings of multiply-adds."""
    if lacking := row.missing():
        pytest.skip(lacking)
    program, *_ = convolution((1, 24, 9, 9), 20, (1, 1, 1, 1), EMULATED[row.name])
    program.write(tmp_path / "tiles.mlir")
    given = {"x": RNG.normal(size=(1, 24, 9, 9)).astype(np.float32)}
    (got,) = run_row(row, tmp_path / "tiles.mlir", [given], debug=False)
    wanted = MlirRunner(program).run(given)
    for name in wanted:
        limit = (2e-5 if EMULATED[row.name] == "F32" else 2.0**-8) * np.abs(wanted[name]).max()
        assert np.abs(got[name] - wanted[name]).max() <= limit


@pytest.mark.parametrize("case", SHAPES)
def test_threads_make_the_same_bytes(case, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(steps, "_LEAST_US", 0.0)
    monkeypatch.setattr(steps, "_GRAIN_US", 1.0)
    shape, out, pads, _ = SHAPES[case]
    program, *_ = convolution(shape, out, pads)
    given = {"x": RNG.normal(size=shape).astype(np.float32)}
    with_one = compiled(program, MACHINES["x86-64-v3"], tmp_path, debug=False)
    for threads in (2, 3):
        runner = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=threads))
        for name, made in runner.run(given).items():
            np.testing.assert_array_equal(made, with_one.run(given)[name])
        runner.close()
    with_one.close()


def test_few_channels_and_other_windows_are_summed_as_they_are() -> None:
    program, *_ = convolution((1, 3, 8, 8), 16, (1, 1, 1, 1))
    assert [type(k) for k in convolutions(program, MACHINES["x86-64-v3"])] == [FloatConvolution]
