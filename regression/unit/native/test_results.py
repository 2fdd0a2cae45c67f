"""What kernels store of sums has the bytes of `numerics.rescale`, in vectors packed two at a time and by others."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines

from stepdown.native.build import write_object
from stepdown.native.kernels.results import Run, store_scaled
from stepdown.native.rescaling import Output, Scale
from stepdown.native.tir import Function
from stepdown.numerics.rescale import multipliers_shifts, rescale

BOUND, RUNS = 1 << 24, 40
OUTPUTS = [
    Output("int8", 0, (-128, 127)), Output("int8", -128, (-128, 127)), Output("int8", 127, (3, 127)),
    Output("int8", 5, (-100, 90)), Output("uint8", 0, (0, 255)), Output("uint8", 255, (0, 255)),
    Output("uint8", 77, (77, 200)),
]  # fmt: skip


def written(scale: Scale, output: Output, name: str, width: int) -> Function:
    """Return a function that stores RUNS runs of `width` sums, two at a time; some results are beyond 16 bits."""
    f, held = Function(name), scale.constants(width)
    x, y = f.argument("x", "int32", RUNS * width), f.argument("y", output.dtype, RUNS * width)
    buffers = {name: f.argument(name, str(values.dtype), width) for name, values in held.items()}
    with f.loop(RUNS // 2) as i:
        both = [Run((2 * i + j) * width, (2 * i + j) * width, 0) for j in range(2)]
        store_scaled(f, scale, output, machines()["x86-64-v3"].lanes, x, y, both, width, buffers)
    return f


def begins(results: np.ndarray, multipliers: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return the least sums that give results: at these and below them scaling must be exact."""
    return -(-((2 * results - 1) << shifts.astype(np.int64) - 1) // multipliers.astype(np.int64))


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_bytes(width: int, per_channel: bool, narrow: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(width + per_channel)
    sums = (rng.integers(-BOUND, BOUND, (RUNS, width)) >> rng.integers(0, 24, (RUNS, 1))).astype(np.int32)
    sums[:2] = BOUND * np.array([[1], [-1]])
    scales = 2.0 ** rng.uniform(
        -9 if narrow else -16, -1, width if per_channel else 1
    )  # up to 2^23 of results: beyond 16 bits, too
    multipliers, shifts = multipliers_shifts(scales)
    scale = Scale(multipliers, shifts, "single", BOUND)
    if narrow:
        scale.narrow(-255, 255, (np.full(width, -BOUND), np.full(width, BOUND)))
        assert "factor" in scale.parts
    functions = {f"store{at}": written(scale, o, f"store{at}", width).finish() for at, o in enumerate(OUTPUTS)}
    write_object(functions, machines()["x86-64-v3"], tmp_path / "store.o")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "store.so", tmp_path / "store.o"], check=True)
    library = ctypes.CDLL(str(tmp_path / "store.so"))
    for name, output in zip(functions, OUTPUTS, strict=True):
        made = np.zeros(sums.shape, output.dtype)
        arrays = [sums, made, *scale.constants(width).values()]
        getattr(library, name)(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
        kind = np.dtype(output.dtype).type
        wanted = rescale(sums, multipliers[None], shifts[None], output.zero_point, output.bounds, kind)
        np.testing.assert_array_equal(made, wanted, str(output))
