"""f16 and bf16 in code for CPUs: every pattern, every rounding, and networks with the bytes of the reference."""

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native.compiled import bytes_apart, compiled, differing, machines, small
from native.graphs import program_of
from native.test_windows import FLAT, PLANE, network
from npu.test_networks import inputs, mnist
from onnx import helper, numpy_helper
from targets import lowering

from stepdown.chips import load_chip
from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.native.build import assembly, c_source, write_object
from stepdown.native.code import Code
from stepdown.native.halves import HALVES, Half, half_of, stored, widened
from stepdown.native.kernels import half
from stepdown.native.kernels.half import Bf16Pairs
from stepdown.native.link import shared_library
from stepdown.native.machine import Machine, machine_of
from stepdown.native.passes.codegen import Codegen
from stepdown.native.tir import Expr, Function
from stepdown.npu.weights import held_weight
from stepdown.numerics.floats import ROUND, from_bf16_bits
from stepdown.runtimes.mlir import MlirRunner
from stepdown.runtimes.native import NativeRunner

MACHINES = machines()
"""Sums in float64, with the bytes of the reference."""
pytestmark = pytest.mark.apart
PATTERNS = np.arange(1 << 16, dtype=np.uint16)
LANES = 16
UNITS = {"f16": 2.0**-11, "bf16": 2.0**-8}
"""What rounding to nearest changes a number by at most."""
ENTRY = """int each(void *x, void *y);
__attribute__((visibility("default"))) int entry(void *x, void *y) { return each(x, y); }
"""


def values(kind: str) -> np.ndarray:
    """Return the float32 value of every pattern."""
    return from_bf16_bits(PATTERNS) if kind == "bf16" else PATTERNS.view(np.float16).astype(np.float32)


def run(machine: Machine, folder: Path, x: np.ndarray, made: type, write) -> np.ndarray:
    """Return write(element) of each element, by compiled code."""
    f = Function("each")
    source = f.argument("x", str(x.dtype), x.size)
    target = f.argument("y", np.dtype(made).name, x.size)
    with f.loop(x.size // LANES) as i, f.loop(LANES, "vector") as lane:
        f.store(target, i * LANES + lane, write(source[i * LANES + lane]))
    functions = {"each": f.finish()}
    path = folder / ("each.c" if machine.is_c else "each.o")
    if machine.is_c:
        path.write_text(c_source(functions, machine))
    else:
        write_object(functions, machine, path)
    (folder / "entry.c").write_text(ENTRY)
    shared_library([path, folder / "entry.c"], folder / "each.so", machine.triple, [])
    y = np.zeros(x.size, made)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, y)]
    ctypes.CDLL(str(folder / "each.so")).entry(*pointers)
    return y


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", HALVES)
def test_every_pattern_is_made_wide(kind, machine, tmp_path: Path) -> None:
    got = run(MACHINES[machine], tmp_path, PATTERNS, np.float32, half_of(kind, MACHINES[machine]).real)
    np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(got)], values(kind).view(np.uint32)[~np.isnan(got)])
    assert (np.isnan(got) == np.isnan(values(kind))).all()


def hard(kind: str) -> np.ndarray:
    """Return all values, the middles of neighbours, and what lies next to both; beyond the largest value too."""
    exact = values(kind).astype(np.float64)
    finite = np.sort(exact[np.isfinite(exact)])
    finite = np.concatenate([finite, [2 * finite[-1] - finite[-3]]])
    points = np.concatenate([exact, (finite[1:] + finite[:-1]) / 2, [1e300, -1e300, 5e-324]])
    points = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    return np.resize(points, -(-points.size // LANES) * LANES)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("wide", ["float32", "float64"])
@pytest.mark.parametrize("kind", HALVES)
def test_rounding_is_that_of_the_reference(kind, wide, machine, tmp_path: Path) -> None:
    chosen = MACHINES[machine]
    with np.errstate(all="ignore"):
        x = hard(kind).astype(wide)
        wanted = ROUND[kind](x)
    for by_instruction in {False, chosen.converts_f16}:
        folder = tmp_path / str(by_instruction)
        folder.mkdir()
        got = run(chosen, folder, x, np.uint16, Half(kind, wide, by_instruction).closed)
        check(kind, x, got, wanted)


def check(kind: str, x: np.ndarray, got: np.ndarray, wanted: np.ndarray) -> None:
    known = ~np.isnan(x)
    np.testing.assert_array_equal(got[known], stored(wanted, kind)[known])
    assert np.isnan(values(kind)[got[~known]]).all()


@pytest.mark.parametrize("mode", ["F16", "BF16"])
def test_networks(mode, tmp_path: Path) -> None:
    """With sums in float64 as the option asks for, all bytes; without, errors of some units of the largest value."""
    program = mnist()
    lowering(mode, "x86_64").run(program)
    given = inputs(program)
    wanted = MlirRunner(program).run(given, "all")
    for sums, units in (("f64", 0), ("f32", 8)):
        Codegen(model_file=str(tmp_path / f"{sums}.so"), debug=True, sums=sums).run(program)
        got = NativeRunner(tmp_path / f"{sums}.so").run(given, "all")
        for name in got.keys() & wanted.keys():
            limit = units * UNITS[mode.lower()] * np.abs(wanted[name]).max()
            assert np.abs(got[name] - wanted[name]).max() <= limit


def test_other_sums_are_refused(tmp_path: Path) -> None:
    program = mnist()
    lowering("BF16", "x86_64").run(program)
    with pytest.raises(InputError, match="no sums in 'f16'"):
        Codegen(model_file=str(tmp_path / "net.so"), sums="f16").run(program)


@pytest.mark.parametrize(("mode", "scratch"), [("F16", "much"), ("BF16", "little"), ("F16", "none")])
def test_windows(mode, scratch, tmp_path: Path) -> None:
    """Without scratch memory, transposed convolutions have no code."""
    machine = replace(MACHINES["x86-64-v3"], sums="f64")
    chosen = {"much": machine, "little": small(machine), "none": without_copies(machine)}[scratch]
    for name, windows, size in (("flat", FLAT, [9]), ("plane", PLANE, [5, 7])):
        windows = [w for w in windows if scratch != "none" or w.op == "Conv"]
        program = network(windows, size, batch=1)
        lowering(mode, "x86_64").run(program)
        (tmp_path / name).mkdir()
        assert differing(program, inputs(program), chosen, tmp_path / name) == {}


@pytest.mark.parametrize(("machine", "mode"), [("c", "BF16"), ("x86-64-v3", "F16"), ("x86-64-v3", "BF16")])
def test_sums_in_f32_are_within_their_bound(mode, machine, tmp_path: Path) -> None:
    apart_at_most(mode, MACHINES[machine], tmp_path)


def apart_at_most(mode: str, machine: Machine, tmp_path: Path) -> None:
    """K products err by γ_K of Σ|w|·max|x| (`numerics.accumulate` for 2⁻²⁴); both results are rounded once."""
    program = network(PLANE, [5, 7], batch=1)
    lowering(mode, "x86_64").run(program)
    given = inputs(program)
    got = compiled(program, machine, tmp_path).run(given, "all")
    wanted = MlirRunner(program).run(given, "all")
    largest = max(np.abs(x).max() for x in given.values()) * (1 + UNITS[mode.lower()])
    checked = 0
    for op in program.ops:
        if type(op).__name__ in ("Conv", "ConvTranspose"):
            weights = np.abs(held_weight(program, op.operands[1].owner).astype(np.float64))
            by_output = weights.sum((1, 2, 3) if type(op).__name__ == "Conv" else (0, 2, 3))
            gamma = (weights.size // by_output.size + 1) * 2.0**-24
            error = gamma / (1 - gamma) * (by_output.max() * largest + 4)
            apart = np.abs(got[op.tensor_name].astype(np.float64) - wanted[op.tensor_name])
            assert (apart <= error + 2 * UNITS[mode.lower()] * (np.abs(wanted[op.tensor_name]) + error)).all()
            checked += 1
    assert checked == len(PLANE)


@dataclass(frozen=True)
class SpelledOut(Bf16Pairs):
    """Two products a lane as vdpbf16ps defines them, on any processor: the same packing and copies."""

    def weights(self, f: Function, buffer: Any, index: Expr) -> Any:
        return buffer, index

    def operands(self, f: Function, buffer: Any, index: Expr) -> Any:
        return [f.let(widened(buffer[index + k], "bf16")) for k in range(self.group)]

    def add(self, f: Function, sums: Any, at: Expr, operands: Any, weights: Any) -> None:
        buffer, index = weights
        with f.loop(self.lanes, "vector") as lane:
            total = sums[at + lane]
            for k in reversed(range(self.group)):
                total = total + operands[k] * widened(buffer[index + lane * self.group + k], "bf16")
            f.store(sums, at + lane, total)


def test_pairs_of_bf16_have_the_same_sums(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(half, "bf16_pairs", lambda machine: SpelledOut())
    apart_at_most("BF16", MACHINES["c"], tmp_path)


def test_processors_with_pairs_of_bf16_use_them() -> None:
    program = network(PLANE[:3], [5, 7], batch=1)
    lowering("BF16", "x86_64").run(program)
    for processor, sums, has in (
        ("cooperlake", "f32", True),
        ("cooperlake", "f64", False),
        ("cascadelake", "f32", False),
    ):
        machine = machine_of(load_chip("x86_64"), processor, sums=sums)
        code = Code(program, machine, "net")
        products = {n: f for n, f in code.functions.items() if n.endswith("halfconvolution")}
        assert ("\tvdpbf16ps\t" in assembly(products, machine)) == has


def without_copies(machine: Machine) -> Machine:
    return replace(machine, scratch_bytes=0)


def functions() -> Program:
    """Return a network of functions of one and of several tensors."""
    held = {"c": [[0.5], [-2.0], [3.0]], "low": -1.5, "axes": [2], "pads": [0, 0, 1, 0, 0, 2], "fill": 0.75}
    weights = [
        numpy_helper.from_array(np.asarray(v, np.int64 if n in ("axes", "pads") else np.float32), n)
        for n, v in held.items()
    ]
    rows = [
        ("Sigmoid", ["x"], {}), ("Gelu", ["x"], {}), ("Relu", ["x"], {}), ("HardSwish", ["x"], {}),
        ("Add", ["x", "c"], {}), ("Sub", ["c", "x"], {}), ("Mul", ["x", "x"], {}), ("Div", ["x", "c"], {}),
        ("Max", ["x", "c", "low"], {}), ("PRelu", ["x", "c"], {}), ("Softmax", ["x"], {"axis": 1}),
        ("ReduceMean", ["x", "axes"], {}), ("ReduceMax", ["x", "axes"], {"keepdims": 0}),
        ("ReduceSum", ["x", "axes"], {}), ("Pad", ["x", "pads", "fill"], {}), ("Concat", ["x", "x"], {"axis": 2}),
        ("Transpose", ["x"], {"perm": [2, 0, 1]}),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins, [f"y{i}"], name=f"n{i}", **more) for i, (op, ins, more) in enumerate(rows)]
    results = [helper.make_tensor_value_info(f"y{i}", 1, None) for i, _ in enumerate(rows)]
    given = helper.make_tensor_value_info("x", 1, [2, 3, 21])
    return program_of("functions", nodes, [given], results, weights, opset=20)


@pytest.mark.parametrize("mode", ["F16", "BF16"])
@pytest.mark.parametrize(("machine", "sums"), [*((name, "f32") for name in MACHINES), ("x86-64", "f64")])
def test_functions(machine, sums, mode, tmp_path: Path) -> None:
    """In f32, a fold of two operands has the same bits, and one of many may err by one unit in the last place."""
    program = functions()
    lowering(mode, "x86_64").run(program)
    given, chosen = inputs(program), replace(MACHINES[machine], sums=sums)
    apart = differing(program, given, chosen, tmp_path)
    many = {op.tensor_name for op in program.ops if type(op).__name__ in ("Softmax", "ReduceMean", "ReduceSum")}
    assert apart.keys() <= (many if sums == "f32" else set())
    got, wanted = NativeRunner(tmp_path / "net.so").run(given, "all"), MlirRunner(program).run(given, "all")
    for name in many & got.keys():
        np.testing.assert_allclose(got[name], wanted[name], rtol=2 * UNITS[mode.lower()], atol=2.0**-24)


def test_bytes_are_compared_exactly(tmp_path: Path) -> None:
    """One unit in the last place of bf16 counts, although its tensors are dumped as f32."""
    program = mnist()
    lowering("BF16", "x86_64").run(program)
    given = inputs(program)
    got = compiled(program, MACHINES["x86-64"], tmp_path).run(given, "all")
    name = next(n for n, a in MlirRunner(program).run(given, "all").items() if n in got and a.any())
    moved = got[name].copy().reshape(-1)
    moved[np.flatnonzero(moved)[0]] *= np.float32(1 + 2**-8)
    assert bytes_apart(got[name], moved.reshape(got[name].shape)) == 1
