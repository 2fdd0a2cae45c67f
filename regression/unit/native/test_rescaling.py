"""Rescaling as code has the results of `numerics.rescale`, whichever formula is taken."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines

from stepdown.native.build import c_source, write_object
from stepdown.native.machine import Machine
from stepdown.native.rescaling import Scale
from stepdown.native.tir import Function

RNG = np.random.default_rng(2)
SIZE = 256


def scaled(scale: Scale, totals: np.ndarray, machine: Machine, folder: Path) -> np.ndarray:
    """Return what the code makes of sums."""
    f = Function("scale")
    x, y = f.argument("x", "int32", totals.size), f.argument("y", scale.wide, totals.size)
    with f.loop(totals.size // 16) as i, f.loop(16, "vector") as lane:
        f.store(y, i * 16 + lane, scale.apply(x[i * 16 + lane], scale.values({}, 0)))
    made = folder / ("scale.c" if machine.is_c else "scale.o")
    if machine.is_c:
        made.write_text(c_source({"scale": f.finish()}, machine))
    else:
        write_object({"scale": f.finish()}, machine, made)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "scale.so", made], check=True)
    results = np.zeros(totals.size, scale.wide)
    ctypes.CDLL(str(folder / "scale.so")).scale(
        totals.ctypes.data_as(ctypes.c_void_p), results.ctypes.data_as(ctypes.c_void_p)
    )
    return results


@pytest.mark.parametrize("machine", ["c", "x86-64-v3"])
@pytest.mark.parametrize(
    ("multiplier", "shift", "bound"),
    [
        (1 << 30, 31, (1 << 28) - 1), (1 << 30, 31, (1 << 31) - 1), (1 << 30, 44, 1 << 20), (1 << 30, 61, 1 << 30),
        (1 << 30, 62, 1 << 30), (1 << 30, 30, 100), (1518500249, 40, 1 << 24), (1518500249, 31, 1 << 30), (0, 2, 9),
    ],
)  # fmt: skip
def test_single_rounding(multiplier, shift, bound, machine, tmp_path: Path) -> None:
    chosen = machines()[machine]
    totals = np.concatenate([RNG.integers(-bound, bound + 1, SIZE - 8), [-bound, bound, -1, 0, 1, bound // 2, 5, -5]])
    got = scaled(Scale(multiplier, shift, "single", bound), totals.astype(np.int32), chosen, tmp_path)
    wanted = [(int(total) * multiplier + (1 << shift - 1)) >> shift for total in totals]
    assert got.tolist() == wanted
