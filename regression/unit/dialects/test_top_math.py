"""The arithmetic of TOP ops against values worked out by hand or by Python's math module, and their constraints."""

import math
from typing import Any

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

from stepdown.dialects.op import constraints
from stepdown.dialects.program import Program
from stepdown.dialects.top import TOP_OPS, TopOp
from stepdown.dialects.top.source import Input
from stepdown.dialects.types import storage_of_dtype, tensor
from stepdown.numerics.erf import erf
from stepdown.numerics.windows import Window, fold

SAMPLES = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-12, 0, 200)])


def build(name: str, *operands: np.ndarray, **attributes: Any) -> TopOp:
    kinds = {f"x{i}": tensor(a.shape, storage_of_dtype(a.dtype)) for i, a in enumerate(operands)}
    program = Program.empty("test", kinds, "TEST")
    values = [program.add(Input.build(n, [a])) for n, a in zip(kinds, program.block.args, strict=True)]
    return TOP_OPS[name].build("y", values, **attributes)


def compute(name: str, *operands: np.ndarray, **attributes: Any) -> np.ndarray:
    return build(name, *operands, **attributes).compute(*operands)[0]


def pool(name: str, x: np.ndarray, kernel: int, **attributes: Any) -> TopOp:
    return build(name, x, **{"kernel_shape": [kernel], "strides": [1], "pads": [0, 0], "dilations": [1], **attributes})


# --- accuracy


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 2e-15), (np.float32, 6e-8)])
def test_erf_is_accurate(dtype: type, bound: float) -> None:
    x = SAMPLES.astype(dtype)
    exact = np.array([math.erf(v) for v in x.tolist()])
    assert erf(x).dtype == dtype
    assert np.abs(erf(x) - exact).max() < bound
    assert np.abs(erf(x) / np.where(exact == 0, 1, exact) - (exact != 0)).max() < 2 * bound


def test_erf_ends() -> None:
    ends = erf(np.array([-np.inf, np.inf, np.nan, 0]))
    np.testing.assert_array_equal(ends, [-1, 1, np.nan, 0])


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("Gelu", lambda v: v / 2 * (1 + math.erf(v / math.sqrt(2)))),
        ("Sigmoid", lambda v: 1 / (1 + math.exp(-v))),
        ("Swish", lambda v: v / (1 + math.exp(-v))),
        ("Softplus", lambda v: math.log1p(math.exp(v))),
        ("Elu", lambda v: v if v > 0 else math.expm1(v)),
        ("HardSwish", lambda v: v * min(max(v + 3, 0), 6) / 6),
        ("LeakyRelu", lambda v: v if v > 0 else 0.01 * v),
    ],
)
def test_activations(name: str, exact: Any) -> None:
    expected = [exact(v) for v in SAMPLES.tolist()]
    np.testing.assert_allclose(compute(name, SAMPLES), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["Sigmoid", "Softplus", "Swish", "Elu", "Selu", "Celu", "Gelu"])
def test_activations_do_not_overflow(name: str) -> None:
    with np.errstate(over="raise", invalid="raise"):
        y = compute(name, np.array([-1000, 1000], np.float32))
    assert np.isfinite(y).all()


# --- integers


def test_integer_arithmetic() -> None:
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    np.testing.assert_array_equal(compute("Div", a, b), [3, -3, -3, 3])
    np.testing.assert_array_equal(compute("Mod", a, b), [1, 1, -1, -1])
    np.testing.assert_array_equal(compute("Mod", a, b, fmod=True), [1, -1, 1, -1])
    np.testing.assert_array_equal(compute("Pow", a, np.array([2, 1, 0, -1], np.int32)), [49, -7, 1, 0])
    np.testing.assert_array_equal(compute("ReduceMean", np.array([-1, -2], np.int32)), [-1])
    big = np.array([2**53 + 1], np.int64)
    assert compute("Add", big, big)[0] == 2**54 + 2
    assert compute("Max", np.array([200], np.uint8), np.array([100], np.uint8)).dtype == np.uint8


def test_boolean_results() -> None:
    x = np.array([0, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(compute("IsInf", x, detect_negative=False), [False, True, False, False])
    np.testing.assert_array_equal(compute("Compare", x, x, mode="Equal"), [True, True, True, False])
    np.testing.assert_array_equal(compute("Not", np.array([0, 5], np.uint8)), [255, 250])


# --- windows


def test_positions_of_a_window() -> None:
    assert Window(7, 3, 2).count == 3
    assert Window(8, 3, 2).count == 3
    assert Window(8, 3, 2, ceil_mode=True).count == 4
    # The third window would start at 4, behind the 1 + 3 elements before the end padding.
    assert Window(3, 2, 2, begin=1, end=1, ceil_mode=True).count == 2


def test_average_pool_counts() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    op = pool("AveragePool", x, 3, strides=[2], pads=[1, 0], ceil_mode=True)
    np.testing.assert_array_equal(op.sums(x)[0, 0], [1 + 2, 2 + 3 + 4, 4 + 5])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(op.counts(x.shape), [2, 3, 2])  # type: ignore[attr-defined]
    padded = pool("AveragePool", x, 3, strides=[2], pads=[1, 0], ceil_mode=True, count_include_pad=True)
    np.testing.assert_array_equal(padded.counts(x.shape), [3, 3, 2])  # type: ignore[attr-defined]
    dilated = pool("AveragePool", x, 2, dilations=[3], pads=[1, 1])
    np.testing.assert_array_equal(dilated.counts(x.shape), [1, 2, 2, 1])  # type: ignore[attr-defined]


def test_sums_of_integers_are_exact() -> None:
    x = np.random.default_rng(0).integers(-128, 128, (2, 3, 17, 19)).astype(np.float32)
    window = {"kernel_shape": [5, 4], "strides": [2, 1], "pads": [2, 1, 2, 1], "dilations": [1, 1]}
    sums, exact = (build("AveragePool", a, **window).sums(a) for a in (x, x.astype(np.int64)))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(sums, exact)
    whole = build("AveragePool", x, kernel_shape=[17, 19], strides=[1, 1], pads=[0] * 4, dilations=[1, 1])
    np.testing.assert_array_equal(whole.sums(x)[..., 0, 0], x.astype(np.int64).sum((2, 3)))  # type: ignore[attr-defined]


def test_windows_over_padding_alone() -> None:
    x = np.array([[[1, 2, 3]]], np.int8)
    np.testing.assert_array_equal(
        fold(x, 2, Window(3, 1, 1, begin=1, end=1), np.maximum, -128)[0, 0], [-128, 1, 2, 3, -128]
    )
    assert compute("MaxPool", x, kernel_shape=[2], strides=[1], pads=[0, 0], dilations=[1]).dtype == np.int8


# --- reductions and normalisations


def test_reductions_of_nothing() -> None:
    nothing = np.zeros((2, 0, 4), np.float32)
    for name, expected in {"ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceSum": 0, "ReduceProd": 1}.items():
        np.testing.assert_array_equal(compute(name, nothing, axes=[1]), np.full((2, 1, 4), expected))
    assert compute("ReduceMin", nothing.astype(np.int8), axes=[1])[0, 0, 0] == 127


def test_places_and_running_sums() -> None:
    x = np.array([[3, 9, 9, 1]], np.float32)
    assert compute("ArgMax", x, axis=1, select_last_index=True).tolist() == [[2]]
    assert compute("ArgMin", x, axis=-1, keepdims=False).tolist() == [3]
    assert compute("CumSum", x, axis=1, exclusive=True, reverse=True).tolist() == [[19, 10, 1, 0]]


def test_softmax_over_several_dimensions() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32) * 100
    y = compute("Softmax", x, axis=1, flat=True)
    np.testing.assert_allclose(y.sum((1, 2)), 1, rtol=1e-6)


def test_group_norm_of_one_value_a_group() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    a, b = np.array([2, 3], np.float32), np.array([-1, 1], np.float32)
    by_group = compute("GroupNorm", x, a, b, num_groups=2)
    np.testing.assert_array_equal(by_group, compute("GroupNorm", x, a.repeat(2), b.repeat(2), num_groups=2))


# --- constraints


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("can be broadcast to one shape (C1: (2, 3) and (2,))", lambda x: build("Add", x, x[:, 0])),
        ("the slope is broadcast to the shape of the input (C2", lambda x: build("PRelu", x[0], x)),
        ("the operands are truth values or integers (C2: f32, f32)", lambda x: build("Bitwise", x, x, mode="And")),
        ("the condition is boolean (C2: f32)", lambda x: build("Where", x, x, x)),
        ("the window fits into the padded input (C3: (1, 2, 3)", lambda x: pool("MaxPool", x[None], 4)),
        ("are at least 1, pads at least 0 (C2", lambda x: pool("MaxPool", x[None], 0)),
        ("axes are different dimensions of the operand (C1: (1, -1)", lambda x: build("ReduceSum", x, axes=[1, -1])),
        ("axis is a dimension of the operand (C1: axis 2", lambda x: build("Softmax", x, axis=2)),
        ("one value a channel (C1", lambda x: build("Scale", x, x[0], x[1, :2])),
        ("the groups divide the channels (C1", lambda x: build("GroupNorm", x, x[0], x[0], num_groups=2)),
        ("mode is 'Near', want one of Equal", lambda x: build("Compare", x, x, mode="Near")),
    ],
)
def test_constraints(message: str, make: Any) -> None:
    with pytest.raises(VerifyException) as caught:
        make(np.ones((2, 3), np.float32))
    assert message in str(caught.value)


def examples() -> dict[str, tuple[list[np.ndarray], dict[str, Any]]]:
    families = ("arithmetic", "logic", "pool", "reduce", "softmax", "normalization")
    rng = np.random.default_rng(0)
    found = {n: op.example(rng) for n, op in TOP_OPS.items() if op.__module__.rpartition(".")[2] in families}
    return {name: ([a for a in e[0] if a is not None], e[1]) for name, e in found.items() if e is not None}


@pytest.mark.parametrize(("name", "sample"), examples().items(), ids=list(examples()))
def test_examples_run_in_both_precisions(name: str, sample: tuple[list[np.ndarray], dict[str, Any]]) -> None:
    operands, attributes = sample
    op = build(name, *operands, **attributes)
    for inputs in (operands, [a.astype(np.float64) if a.dtype == np.float32 else a for a in operands]):
        results = op.compute(*inputs)
        assert [r.shape for r in results] == op.shapes(*(a.shape for a in operands))
        assert all(np.isfinite(r).all() for r in results if r.dtype.kind == "f")
        if inputs[-1].dtype == np.float64:
            assert all(r.dtype == np.float64 for r in results if r.dtype.kind == "f")


@pytest.mark.parametrize("name", sorted(TOP_OPS))
def test_constraints_are_numbered_without_gaps(name: str) -> None:
    labels = list(constraints(TOP_OPS[name]))
    assert sorted(labels, key=lambda label: int(label[1:])) == [f"C{i + 1}" for i in range(len(labels))]
