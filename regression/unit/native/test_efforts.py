"""Levels and layouts: whatever is chosen, every tensor of integers has the bytes of the reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native.compiled import FLOAT_BOUND, compiled, differing, machines
from native.test_networks import lowered
from native.test_windows import FLAT, PLANE, network
from npu.test_networks import inputs
from targets import lowering

from stepdown.errors import InputError
from stepdown.native.code import Code
from stepdown.native.dots import QuadsU8, pair_sums
from stepdown.native.effort import LAYOUTS, LEVELS, effort_of
from stepdown.native.layout_notes import layout_notes
from stepdown.native.machine import Machine
from stepdown.native.tir import Expr, bits, const, repeat
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

MACHINES = machines()
EFFORTS = [(0, "nchw"), (1, "nhwc"), (3, "nchw"), (3, "blocked")]
IMAGES = PLANE[1:3] + PLANE[4:9]


def machine(name: str, level: int, layout: str) -> Machine:
    return replace(MACHINES[name], effort=effort_of(level, layout))


@pytest.mark.parametrize(("level", "layout"), EFFORTS)
def test_windows_of_integers(level, layout, tmp_path: Path) -> None:
    for name, windows, size, mode in (("flat", FLAT[:3], [19], "INT8"), ("plane", IMAGES, [11, 14], "INT8 asymmetric")):
        program = lowered(network(windows, size), mode)
        (tmp_path / name).mkdir()
        assert differing(program, inputs(program), machine("x86-64-v3", level, layout), tmp_path / name) == {}


@pytest.mark.parametrize(("level", "layout"), EFFORTS)
def test_windows_of_reals_on_one_thread_and_on_several(level, layout, tmp_path: Path) -> None:
    program = network(IMAGES, [11, 14])
    lowering("F32", "x86_64").run(program)
    given = inputs(program)
    got = compiled(program, machine("x86-64-v3", level, layout), tmp_path, debug=False).run(given)
    shared = NativeRunner(tmp_path / "net.so", RunnerOptions(threads=3)).run(given)
    assert all(np.array_equal(got[name], shared[name]) for name in got)
    for name, wanted in MlirRunner(program).run(given).items():
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=8 * FLOAT_BOUND * np.abs(wanted).max())


def added_by_pairs(dot: QuadsU8, total: Expr, operands: Expr, weights: Expr) -> Expr:
    """What vpdpbusd adds, by the instructions of processors that have none."""
    kind, eight = f"int16x{2 * dot.lanes}", repeat(const(8, "int16"), 2 * dot.lanes)
    bytes_, signed = bits(kind, operands), bits(kind, weights)
    low, high = bytes_ & repeat(const(255, "int16"), 2 * dot.lanes), bits(f"uint16x{2 * dot.lanes}", operands)
    high = bits(kind, high >> bits(f"uint16x{2 * dot.lanes}", eight))
    return total + pair_sums(dot.lanes, low, (signed << eight) >> eight) + pair_sums(dot.lanes, high, signed >> eight)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_sums_of_four_products(layout, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Machine, "dot", "quads_u8")
    monkeypatch.setattr(QuadsU8, "sum", added_by_pairs)
    program = lowered(network(IMAGES[2:6], [11, 14]), "INT8 asymmetric")
    assert differing(program, inputs(program), machine("x86-64-v3", 3, layout), tmp_path) == {}


def test_planes_lie_as_the_program_says_without_reorders() -> None:
    program = lowered(network(IMAGES[:3], [11, 14]), "INT8")
    for level in (0, 1, 3):
        notes = layout_notes(
            Code(program, machine("x86-64-v3", level, "nchw"), "net").network, effort_of(level, "nchw")
        )
        convolutions = [f for f in notes.fallbacks if f.op == "tpu.Conv"]
        assert not convolutions
        assert level == 0 or not notes.reorders


@pytest.mark.parametrize("wrong", [(5, ""), (-1, ""), (3, "nhcw"), (1, "blocked")])
def test_what_there_is_not_is_named(wrong) -> None:
    with pytest.raises(InputError, match=r"there is no (level|layout)|level 1 has none"):
        effort_of(*wrong)
    assert {effort_of(level).layout for level in LEVELS} == set(LAYOUTS[:2])
