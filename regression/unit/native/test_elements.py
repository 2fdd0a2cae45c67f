"""Ops of one element in code for CPUs: every one, on numbers of all kinds, with operands that broadcast."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native.compiled import compiled, machines
from native.op_cases import Case, program_of_cases
from transforms.test_lowering import example_of

from stepdown.dialects.op import Kind
from stepdown.dialects.top import TOP_OPS
from stepdown.dialects.types import DTYPES
from stepdown.errors import UnsupportedModel
from stepdown.native.network import network_of
from stepdown.runtimes.mlir import MlirRunner

MACHINES = machines()
pytestmark = pytest.mark.apart
Row = tuple[str, list[np.ndarray], dict[str, Any]]
"""An op, its operands, its attributes."""


def check(
    rows: Sequence[Row], mode: str, machine: str, folder: Path, rtol: float = 0, atol: float = 0, held: int = 9
) -> None:
    """Compare compiled code with the reference: reals within a bound, where NaN is too; others byte by byte.

    Operands from number `held` on are constants.
    """
    cases = [Case(op, tuple(a), attributes, tuple(range(held, len(a)))) for op, a, attributes in rows]
    program, given = program_of_cases(cases, mode)
    with np.errstate(all="ignore"):
        wanted = MlirRunner(program).run(given)
    got = compiled(program, MACHINES[machine], folder, debug=False).run(given)
    assert got.keys() == wanted.keys()
    for name, right in wanted.items():
        assert got[name].dtype == right.dtype
        bound = (rtol, atol) if right.dtype.kind == "f" else (0, 0)
        np.testing.assert_allclose(got[name], right, *bound, err_msg=name)


def numbers(*shape: int) -> np.ndarray:
    """Return f32 of many sizes, ±0, ±∞ and NaN among them."""
    rng = np.random.default_rng(3)
    found = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 3, shape)).astype(np.float32)
    found.reshape(-1)[:12] = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -0.5, 2.5, -2.5, 1e-40]
    return found


def f32_rows() -> list[Row]:
    """Return every op of one f32 operand, on what its example has and on all kinds of numbers; more, with options."""
    unary = [n for n, op in TOP_OPS.items() if op.kind is Kind.LUT]
    rows: list[Row] = []
    for name in unary:
        (example,), attributes = example_of(name)
        rows.append((name, [np.concatenate([numbers(3, 7, 5).reshape(-1), example.reshape(-1)])], dict(attributes)))
    near = np.random.default_rng(5).uniform(-4, 4, (2, 37)).astype(np.float32)
    options = {
        "Celu": {"alpha": 0.7}, "Elu": {"alpha": 1.5}, "Gelu": {"approximate": "tanh"}, "LeakyRelu": {"alpha": -0.3},
        "Selu": {"alpha": 1.2, "gamma": 0.9}, "Shrink": {"bias": 0.25, "lambd": 1.0}, "PowScalar": {"exponent": 2.5},
        "ThresholdedRelu": {"alpha": -0.5}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "Swish": {"alpha": 1.7},
        "Relu": {"relu_limit": 6.0}, "Clip": {"min": -1.0, "max": 2.5},
    }  # fmt: skip
    rows += [(name, [near], attributes) for name, attributes in options.items()]
    rows += [("PowScalar", [numbers(41)], {"exponent": e}) for e in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 0.3, 5.0)]
    return [*rows, ("Pow", [near, near.round()], {}), ("Pow", [np.abs(near), near], {})]


def sides(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return operands of some shapes, not near 0."""
    rng = np.random.default_rng(seed)
    return [(rng.uniform(0.5, 9, s) * rng.choice([-1, 1], s)).astype(np.float32) for s in shapes]


SHAPES = (((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (3, 1)), ((4, 1), (3, 1, 6)), ((7,), ()), ((1, 5), (3, 1)))


def fold_rows() -> list[Row]:
    """Return ops of several f32 operands, which broadcast."""
    names = ("Add", "Sub", "Mul", "Div", "Max", "Min", "SquaredDifference", "Mod")
    rows: list[Row] = [(n, sides(i, *SHAPES[(i + k) % 5]), {}) for i, n in enumerate(names) for k in (0, 2)]
    rows.append(("Mod", sides(10, (3, 8), (8,)), {"fmod": True}))
    rows += [(n, sides(9, (2, 5), (5,), (2, 1)), {}) for n in ("Add", "Max", "Min")]
    rows += [(n, sides(8, (2, 9), (9,)), {"do_relu": True, "relu_limit": 6.0}) for n in ("Add", "Mul", "Max", "Min")]
    return rows


@pytest.mark.parametrize("machine", ["c", "x86-64-v3"])
def test_functions_of_f32(machine: str, tmp_path: Path) -> None:
    check(f32_rows(), "F32", machine, tmp_path, rtol=2e-6, atol=5e-7)


@pytest.mark.parametrize("machine", ["c", "x86-64-v3"])
def test_folds_of_f32(machine: str, tmp_path: Path) -> None:
    check(fold_rows(), "F32", machine, tmp_path, rtol=1e-7)


def integers(seed: int, kind: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return operands of a type: any integers, and small ones, 0 and −1 and the bounds among them."""
    rng, limits = np.random.default_rng(seed), np.iinfo(kind)
    found = []
    for shape in shapes:
        anywhere = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
        small = rng.integers(-4 * (limits.min < 0), 5, shape).astype(kind)
        found.append(np.where(rng.random(shape) < 0.5, anywhere, small).astype(kind))
    return found


def integer_rows() -> list[Row]:
    """Return arithmetic of plain integers, of types of all widths."""
    rows: list[Row] = []
    for i, kind in enumerate(("int32", "int64", "uint8", "int8", "uint32")):
        a, b = integers(i, kind, (5, 3, 8), (3, 1))
        names = ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "SquaredDifference")
        rows += [(name, [a, b], {}) for name in names[: None if i < 2 else 6]]
        rows.append(("Mod", integers(i, kind, (9,), (4, 9)), {"fmod": True}))
    signed = integers(7, "int32", (37,))[0][1:]
    rows += [(name, [signed], {}) for name in ("Abs", "Neg", "Sign", "Relu")]
    rows.append(("Clip", [signed], {"min": -3.0, "max": 100.0}))
    return [*rows, ("Pow", [signed.reshape(4, 9), np.arange(9, dtype=np.int32)], {})]


def bit_rows() -> list[Row]:
    """Return comparisons, bits, choices, properties."""
    rng, x = np.random.default_rng(11), numbers(3, 17)
    truth = [rng.random(s) < 0.5 for s in ((3, 1), (3, 17))]
    rows: list[Row] = []
    for mode in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        rows += [("Compare", [x, x[:, ::-1].copy()], {"mode": mode}), ("Compare", [x, x[0]], {"mode": mode})]
        rows.append(("Compare", integers(1, "int64", (4, 7), (7,)), {"mode": mode}))
    rows += [("Bitwise", truth, {"mode": mode}) for mode in ("And", "Or", "Xor")]
    for kind in ("uint8", "int32", "int64"):
        rows += [("Bitwise", integers(2, kind, (2, 19), (19,)), {"mode": m}) for m in ("And", "Or", "Xor")]
        rows += [("Not", integers(3, kind, (21,)), {}), ("Where", [truth[0], *integers(4, kind, (3, 5), ())], {})]
        shifts = np.arange(0, 80, 5, dtype=kind)
        rows += [("BitShift", [*integers(5, kind, (16,)), shifts], {"direction": d}) for d in ("LEFT", "RIGHT")]
    rows += [("Not", truth[:1], {}), ("Where", [truth[1], x, x[:, :1]], {}), ("Where", [truth[0], *truth], {})]
    rows += [("IsNaN", [x], {})]
    return rows + [("IsInf", [x], {"detect_negative": n, "detect_positive": p}) for n in (0, 1) for p in (0, 1)]


def cast_rows() -> list[Row]:
    """Return changes of type: from every one to every one, of numbers that fit and of others."""
    kinds = ("i1", "i8", "u8", "i16", "i32", "u32", "i64", "u64", "f32")
    reals = np.concatenate([numbers(40), numbers(40) * 1e9, [2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 2.0**64, 255.9]])
    rows: list[Row] = []
    for kind in kinds:
        dtype = str(DTYPES[kind])
        source = integers(6, dtype, (33,))[0] if dtype.startswith(("int", "uint")) else reals.astype(dtype)
        some = ("i1", "i8", "u32", "i64", "f32", "f16")
        rows += [("Cast", [source], {"to": to}) for to in ((*kinds, "bf16") if kind == "f32" else some)]
    rows.append(("BitCast", [numbers(17)], {"source": "f32", "to": "i32"}))
    return [*rows, ("BitCast", integers(8, "int32", (17,)), {"source": "i32", "to": "u32"})]


@pytest.mark.parametrize("machine", ["c", "x86-64-v3"])
def test_integers_and_bits_and_types(machine: str, tmp_path: Path) -> None:
    check([*integer_rows(), *bit_rows(), *cast_rows()], "F32", machine, tmp_path)


def scaled_rows() -> list[Row]:
    """Return ops whose further operands have a number a channel, or a block; integers by scales."""
    rng = np.random.default_rng(12)
    x, q = (rng.normal(size=(2, 6, 5)) * 40).astype(np.float32), integers(9, "int8", (2, 6, 5))[0]
    x.reshape(-1)[:6] = [np.inf, -np.inf, np.nan, 63.5, 62.5, 3e9]
    parts = {shape: rng.uniform(0.3, 2, shape).astype(np.float32) for shape in ((), (6,), (2, 3, 5), (2, 6, 2))}
    scale, one, rows, by_four = parts[6,], parts[()], parts[2, 3, 5], parts[2, 6, 2]
    zeros = {shape: rng.integers(-9, 9, shape).astype(np.int8) for shape in parts}
    made: list[Row] = [("Scale", [x[:, :, 3:], scale, scale - 1], {})]
    made.append(("BatchNorm", [x[:, :, 3:], scale, scale - 1, scale * 3, scale + 1], {"epsilon": 0.01}))
    for to in ("i8", "u8", "i16", "u16", "i32"):
        made += [("Quantize", [x, scale], {"to": to}), ("Quantize", [x, one], {"to": to})]
    made += [(op, [v, scale, zeros[6,]], {"axis": -2}) for op, v in (("Quantize", x), ("Dequantize", q))]
    made += [("Dequantize", [q, rows, zeros[2, 3, 5]], {"block_size": 2})]
    made += [(op, [v, by_four], {"block_size": 4, "axis": 2}) for op, v in (("Quantize", x), ("Dequantize", q))]
    return [
        *made,
        ("Dequantize", [*integers(3, "int32", (2, 6, 5)), scale], {}),
        ("Dequantize", [q, one, zeros[()]], {}),
    ]


@pytest.mark.parametrize(("machine", "held"), [("c", 1), ("x86-64-v3", 9)])
def test_scaled(held: int, machine: str, tmp_path: Path) -> None:
    rows = [row for row in scaled_rows() if held == 1 or "block_size" not in row[2]]
    check(rows, "F32", machine, tmp_path, rtol=1e-6, atol=2e-6, held=held)


@pytest.mark.parametrize(("mode", "unit"), [("F16", 2.0**-11), ("BF16", 2.0**-8)])
def test_reals_of_16_bits(mode: str, unit: float, tmp_path: Path) -> None:
    """What is computed in f32 and rounded once may be the neighbour of the rounded exact result."""
    a, b = sides(20, (3, 5, 8), (5, 1))
    kept = (("Scale", 3), ("BatchNorm", 5))
    rows: list[Row] = [(op, [np.abs(a), *[np.abs(b[:, 0])] * (count - 1)], {}) for op, count in kept]
    rows += [("Pow", [np.abs(a), b / 4], {}), ("Mod", [a, b], {}), ("SquaredDifference", [a, b], {})]
    rows += [("Compare", [a, b], {"mode": "Less"}), ("Where", [a > 0, a, b], {}), ("IsNaN", [numbers(23)], {})]
    rows += [("Cast", [a * 30], {"to": to}) for to in ("i8", "f16", "bf16", "f32", "i1")]
    rows += [("Cast", integers(3, "int32", (25,)), {"to": "f32"}), ("Quantize", [a, np.abs(b[:, 0])], {"axis": 1})]
    check(rows, mode, "x86-64-v3", tmp_path, rtol=2.1 * unit, atol=2.0**-24)


def test_what_has_no_code_is_told_by_what_it_is() -> None:
    """Not by the kernel that was asked last, of types that the op does not have."""
    whole, q = np.ones((2, 3), np.int32), np.ones((2, 3), np.int8)
    for row, told in (
        (("Sqrt", (whole,), {}), "tpu.Sqrt 'Sqrt0_0' has no code for CPUs of i32"),
        (("Dequantize", (q, np.ones((2, 2), np.float32)), {"block_size": 2}), "scales by block that are no constants"),
    ):
        program, _ = program_of_cases([Case(*row)], "F32")
        with pytest.raises(UnsupportedModel, match=told):
            network_of(program, MACHINES["c"])
