"""The bound on two orders of a float32 sum: no order leaves it, and a wrong sum does."""

import numpy as np
import pytest
from bench.npu_bounds import bound, carried, terms
from transforms.test_lowering import program_of

from stepdown.dialects.op import TensorOp

RNG = np.random.default_rng(5)
CASES = {
    "Conv": ([(1, 40, 5, 5), (7, 40, 3, 3), (7,)],
             {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "group": 1, "do_relu": True, "relu_limit": 0.5}),
    "MatMul": ([(9, 300), (300, 4), (4,)], {}),
    "AveragePool": ([(1, 3, 16, 16)], {"kernel_shape": (16, 16), "strides": (1, 1), "pads": (0, 0, 0, 0),
                                       "dilations": (1, 1)}),
}  # fmt: skip


def made(name: str) -> tuple[TensorOp, list[np.ndarray]]:
    shapes, attributes = CASES[name]
    arrays = [RNG.normal(size=shape).astype(np.float32) for shape in shapes]
    program = program_of(name, arrays, attributes)
    return next(op for op in program.ops if op.tensor_name == "out"), arrays


@pytest.mark.parametrize(("name", "count"), [("Conv", 361), ("MatMul", 301), ("AveragePool", 257)])
def test_sums_in_float32_lie_within_the_bound_of_exact_ones(name: str, count: int) -> None:
    op, arrays = made(name)
    assert terms(op) == count
    limit = bound(op, arrays)
    exact = op.compute(*(array.astype(np.float64) for array in arrays))[0]
    apart = np.abs(op.compute(*arrays)[0] - exact)
    assert (apart <= limit / 2).all()
    assert (limit > 0).all()


def test_a_lost_product_breaks_the_bound() -> None:
    op, arrays = made("MatMul")
    whole = op.compute(*arrays)[0]
    arrays[0][:, 7] = 0
    assert (np.abs(op.compute(*arrays)[0] - whole) > bound(op, arrays)).any()


def test_what_sums_nothing_has_no_bound() -> None:
    program = program_of("Add", [np.ones((2, 3), np.float32)] * 2, {})
    op = next(op for op in program.ops if op.tensor_name == "out")
    assert not bound(op, [np.ones((2, 3), np.float32)] * 2).any()


@pytest.mark.parametrize("name", ["Conv", "MatMul", "AveragePool"])
def test_differences_of_operands_are_carried_on(name: str) -> None:
    op, arrays = made(name)
    apart = np.abs(RNG.normal(size=arrays[0].shape))
    limit = carried(op, arrays, [apart, *(None for _ in arrays[1:])])
    exact = [array.astype(np.float64) for array in arrays]
    for sign in (-1, 1):
        moved = np.abs(op.compute(exact[0] + sign * apart, *exact[1:])[0] - op.compute(*exact)[0])
        assert (moved <= limit + 1e-9).all()
    assert moved.any()


def test_differences_of_both_sides_of_a_sum_add_up() -> None:
    program = program_of("Add", [np.ones((2, 3), np.float32)] * 2, {})
    op = next(op for op in program.ops if op.tensor_name == "out")
    ones = np.ones((2, 3), np.float32)
    assert (carried(op, [ones, ones], [0.25 * ones, 0.5 * ones]) == 0.75).all()
    assert not carried(op, [ones, ones], [None, None]).any()
