"""Multiply-accumulates of the TPU dialect: the addends of every sum are the right ones, and results are exact."""

import numpy as np
import pytest
from xdsl.ir import Block

from stepdown.dialects.tpu import TPU_OPS
from stepdown.dialects.types import tensor
from stepdown.numerics.floats import round_f16

CONV = {"strides": [2, 1], "pads": [1, 0, 0, 2], "dilations": [1, 2]}
CASES = [
    ("Conv", [(2, 4, 7, 6), (6, 2, 3, 2), (6,)], {**CONV, "group": 2}),
    ("Conv", [(1, 3, 8), (4, 3, 3), (4,)], {"strides": [2], "pads": [1, 1], "dilations": [2]}),
    ("ConvTranspose", [(2, 4, 4, 3), (4, 3, 3, 2), (6,)], {**CONV, "group": 2, "output_padding": [1, 0]}),
    ("MatMul", [(2, 3, 4, 5), (5, 6), (6,)], {}),
    ("MatMul", [(2, 3, 4, 5), (3, 6, 5), (6,)], {"right_transpose": True}),
    ("MatMul", [(5,), (5, 6), (6,)], {}),
]


def build(name, shapes, attributes, element):
    cls = TPU_OPS[name]
    types = [tensor(shapes[0], element), tensor(shapes[1], element), tensor(shapes[2], "f32")]
    block = Block(arg_types=types)
    return cls.build("y", list(block.args), **attributes), block


@pytest.mark.parametrize(("name", "shapes", "attributes"), CASES)
def test_the_addends_sum_to_the_result(name, shapes, attributes):
    op, _ = build(name, shapes, attributes, "f16")
    rng = np.random.default_rng(3)
    x, w, bias = (rng.integers(-9, 9, shape).astype(np.float64) for shape in shapes)
    wanted = op.compute(x, w, bias)[0]
    terms = op._terms(np.arange(wanted.size), wanted.shape, x, w, bias)
    np.testing.assert_array_equal(terms.sum(axis=1).reshape(wanted.shape), wanted)


@pytest.mark.parametrize(("name", "shapes", "attributes"), CASES)
def test_half_results_are_the_exact_sums_rounded(name, shapes, attributes):
    op, _ = build(name, shapes, attributes, "f16")
    rng = np.random.default_rng(4)
    x, w = (round_f16(rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, shape)) for shape in shapes[:2])
    bias = rng.normal(size=shapes[2]).astype(np.float32)
    got = op.run(x, w, bias)[0]
    wide = [v.astype(np.longdouble) for v in (x, w, bias)]
    exact = op._terms(np.arange(got.size), got.shape, *wide).sum(axis=1).astype(np.float64)
    np.testing.assert_array_equal(got.reshape(-1), round_f16(exact))
