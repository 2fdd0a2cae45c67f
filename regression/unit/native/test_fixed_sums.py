"""Sums in one fixed point: of all pairs of stored integers the byte of the definition, within int32."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import differing, machines
from native.test_joining import Nodes
from native.test_networks import lowered
from npu.test_networks import inputs

from stepdown.native.code import Code
from stepdown.native.fixed_sums import FixedSum, fixed_sum
from stepdown.native.kernels.elementwise import Sum
from stepdown.numerics.rescale import APPLY_SCALE, ELTWISE_LEFT_SHIFT, multipliers_shifts

MACHINES = machines()


def defined(
    scales: list[float], sides: list[np.ndarray], bounds: tuple[int, int], zero_point: int, rounding: str
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the sums of all pairs of integers less their zero points, as the definition has them, and its factors."""
    common = 2 * max(scales[:2])
    multipliers, shifts = multipliers_shifts([*(s / common for s in scales[:2]), common / (2.0**20 * scales[2])])
    scaled = APPLY_SCALE[rounding]
    a, b = (scaled(x << ELTWISE_LEFT_SHIFT, int(multipliers[i]), int(shifts[i])) for i, x in enumerate(sides))
    made = scaled(a[:, None] + b, int(multipliers[2]), int(shifts[2]))
    *lifted, last = (float(m) / 2.0 ** int(s) for m, s in zip(multipliers, shifts, strict=True))
    factors = lifted[0] * last * 2.0**20, lifted[1] * last * 2.0**20
    return np.clip(made + zero_point, *bounds), factors


@pytest.mark.parametrize("rounding", ["single", "double"])
def test_all_pairs_have_the_byte_of_the_definition(rounding) -> None:
    rng, found = np.random.default_rng(3), 0
    for _ in range(40):
        scales = [float(np.float32(s)) for s in np.exp(rng.normal(scale=2, size=3))]
        bounds = ((-128, 127), (0, 255))[rng.integers(2)]
        zero_points = rng.integers(-128, 128, 3)
        a, b = (np.arange(-128, 128) for _ in range(2))
        sides = [a - zero_points[0], b - zero_points[1]]
        wanted, factors = defined(scales, sides, bounds, int(zero_points[2]), rounding)
        fixed = fixed_sum(wanted, a, b, factors, bounds)
        if fixed:
            found += 1
            made = fixed.apply(a.astype(np.int32)[:, None], b.astype(np.int32))
            assert made.dtype == np.int32
            np.testing.assert_array_equal(np.clip(made, *bounds), wanted)
    assert found >= 36


def test_what_no_fixed_point_gives_is_left_to_the_definition() -> None:
    a = np.arange(-128, 128)
    wanted = np.clip(a[:, None] + a, -128, 127)
    assert isinstance(fixed_sum(wanted, a, a, (1.0, 1.0), (-128, 127)), FixedSum)
    wanted[3, 200] += 1
    assert fixed_sum(wanted, a, a, (1.0, 1.0), (-128, 127)) is None
    assert fixed_sum(wanted, a, a, (1e6, 1.0), (-128, 127)) is None


@pytest.mark.parametrize("fixed", [True, False])
def test_additions_and_differences(fixed, monkeypatch, tmp_path: Path) -> None:
    if not fixed:
        monkeypatch.setattr("stepdown.native.kernels.elementwise.fixed_sum", lambda *_: None)
    nodes = Nodes()
    added = nodes.node("Add", ["x", nodes.constant(7)])
    program = lowered(
        nodes.program([2, 5, 7], nodes.node("Relu", [nodes.node("Sub", [added, "x"])])), "INT8 asymmetric"
    )
    machine = MACHINES["x86-64-v3"]
    sums = [call.kernel for call in Code(program, machine, "net").network.calls if isinstance(call.kernel, Sum)]
    assert [bool(each._fixed) for each in sums] == [fixed, fixed]
    assert differing(program, inputs(program), machine, tmp_path) == {}
