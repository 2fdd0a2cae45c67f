"""Ops along dimensions: compiled code beside the reference."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines
from native.op_cases import Case, check_cases

MACHINES = machines()
NORMS = [
    Case("LayerNorm", ((2, 3, 8), (8,), None)),
    Case("LayerNorm", ((3, 101), (101,), (101,)), {"statistics": 2}, held=(1, 2)),
    Case("LayerNorm", ((2, 3, 5, 7), (1, 7), (5, 7)), {"axis": -2, "statistics": 1}, held=(1,)),
    Case("LayerNorm", ((1, 1), (1,), None)),
    Case("RMSNorm", ((2, 3, 40), (40,)), held=(1,)),
    Case("RMSNorm", ((4, 6), (1, 6)), {"axis": 0}),
    Case("MeanVarianceNorm", ((2, 3, 4, 5),)),
    Case("MeanVarianceNorm", ((2, 11, 4),), {"axes": [1]}),
    Case("LpNorm", ((2, 3, 9),)),
    Case("LpNorm", ((2, 3, 9),), {"axis": 1, "p": 1}),
    Case("LpNorm", (np.zeros((2, 3), np.float32),), {"axis": -1}),
    Case("GroupNorm", ((2, 6, 3, 3), (6,), (6,)), {"num_groups": 2}),
    Case("GroupNorm", ((2, 6, 5), (3,), (3,)), {"num_groups": 3}, held=(1, 2)),
    Case("GroupNorm", ((1, 5, 4, 7), (5,), (5,)), {"num_groups": 5, "epsilon": 1e-3}, held=(1, 2)),
]

REDUCTIONS = [
    Case(name, (shape,), attributes, low=0.25)
    for name in (
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
        "ReduceLogSum", "ReduceLogSumExp",
    )
    for shape, attributes in (
        ((3, 4, 5), {"axes": (0, -1)}), ((2, 5, 6, 9), {"axes": (1, 3), "keepdims": False}),
    )
]  # fmt: skip
REDUCTIONS += [
    Case("ReduceSum", ((70,),), {"keepdims": False}),
    Case("ReduceL1", ((3, 37),), {"axes": (0,)}),
    Case("ReduceLogSumExp", (np.array([[-np.inf, -np.inf], [80.0, 99.0]], np.float32),), {"axes": (1,)}),
]
DISTRIBUTIONS = [
    Case(name, (shape,), attributes, low=-9.0, high=9.0)
    for name in ("Softmax", "LogSoftmax", "Hardmax")
    for shape, attributes in (((2, 5, 3), {"axis": 1}), ((3, 70), {}), ((2, 3, 4, 2), {"axis": -2, "flat": True}))
]
DISTRIBUTIONS += [
    Case(name, (np.random.default_rng(n).integers(-3, 4, shape).astype(np.float32),), attributes)
    for name in ("ArgMax", "ArgMin", "Hardmax")
    for n, (shape, attributes) in enumerate([((2, 5, 3), {"axis": 1}), ((3, 41), {"axis": -1})])
] + [
    Case("ArgMax", (np.float32([[1, 7, 7, 2, 7, 0]]),), {"axis": 1, "select_last_index": True, "keepdims": False}),
    Case("ArgMin", (np.float32([[1, 0], [0, 0], [2, 0]]),), {"axis": 0, "select_last_index": True}),
]

DRAWN = np.random.default_rng(1)
RUNNING = [
    Case(name, (shape,), attributes)
    for name in ("CumSum", "CumProd")
    for shape, attributes in (
        ((2, 5, 3), {"axis": 1, "exclusive": True}),
        ((3, 7), {"axis": -1, "reverse": True}),
        ((6, 40), {"axis": 0, "reverse": True, "exclusive": True}),
    )
] + [
    Case("TopK", (DRAWN.integers(0, 5, (3, 9)).astype(np.float32),), {"k": 4, "axis": 1}),
    Case("TopK", (DRAWN.integers(0, 5, (7, 2)).astype(np.float32),), {"k": 7, "axis": 0, "largest": False}),
    Case("TopK", (DRAWN.integers(0, 90, (2, 3, 50)).astype(np.int64),), {"k": 1, "axis": 2}),
]
PLACED = [
    Case("Trilu", ((2, 3, 4),), {"k": 1}),
    Case("Trilu", ((5, 17),), {"k": -2, "upper": False}),
    Case("OneHot", (DRAWN.integers(-6, 6, (2, 3)), np.float32([0.5, 2.0])), {"depth": 5, "axis": 1}),
    Case("OneHot", (DRAWN.integers(0, 9, (4,)).astype(np.int32), np.float32([0, 1])), {"depth": 9, "axis": 1}, (1,)),
    Case("ReverseSequence", ((4, 3, 2), np.array([1, 4, 2]))),
    Case("ReverseSequence", ((2, 5), np.array([3, 5], np.int32)), {"batch_axis": 0, "time_axis": 1}),
    Case("Lookup", (DRAWN.integers(-128, 128, (2, 3)).astype(np.int8), DRAWN.integers(0, 256, 256).astype(np.uint8))),
    Case(
        "Lookup",
        (DRAWN.integers(0, 256, (5, 7)).astype(np.uint8), DRAWN.integers(-9, 9, 256).astype(np.int8)),
        held=(1,),
    ),
]
MODES_OF_COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
RESAMPLED = [
    Case("Resize", ((1, 2, 3, 4),), {"shape": [1, 2, 6, 6], "scales": [1, 1, 2, 1.5], "mode": mode,
         "coordinate_transformation_mode": place})
    for mode in ("linear", "cubic") for place in MODES_OF_COORDINATES
] + [
    Case("Resize", ((1, 19, 8, 6),), {"shape": [1, 19, 4, 3], "scales": [1, 1, 0.5, 0.5], "antialias": True}),
    Case("Resize", ((2, 3, 5),), {"shape": [2, 5, 9], "scales": [1, 5 / 3, 1.8], "exclude_outside": True,
         "mode": "cubic"}),
    Case("Resize", ((1, 2, 5, 6),), {"shape": [1, 2, 4, 7], "scales": [1, 1, 0.8, 1.2],
         "roi": [0, 0, -0.3, 0.2, 1, 1, 0.9, 1.4],
         "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5}),
]  # fmt: skip
WINDOW = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 2)}
SHUFFLED = DRAWN.permutation(np.arange(2 * 3 * 8 * 9, dtype=np.float32)).reshape(2, 3, 8, 9) / 8
BLOCKS = {"image_shape": [4, 5], "block_shape": [2, 3], "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 0, 1]}
NEIGHBOURS = [
    Case("LRN", ((2, 7, 3, 3),), {"size": 5}),
    Case("LRN", ((1, 4, 11),), {"size": 30, "beta": 0.4, "alpha": 0.5}),
    Case("LpPool", ((2, 3, 8, 9),), WINDOW),
    Case("LpPool", ((1, 40, 9),), {"kernel_shape": (3,), "strides": (2,), "pads": (0, 1), "dilations": (1,), "p": 3}),
    Case("MaxPoolIndices", (SHUFFLED,), WINDOW),
    Case("MaxPoolIndices", (SHUFFLED[:, :2],), {**WINDOW, "column_major": True}),
    Case("Col2Im", ((2, 18, 6),), BLOCKS),
]
WHERE = {"F32": MACHINES, "F16": [*MACHINES][:1], "BF16": [*MACHINES][-1:]}
"""Machines by mode: reals of 16 bits have no code of their own beyond `halves`, which other tests run everywhere."""
CASES = [*NORMS, *REDUCTIONS, *DISTRIBUTIONS, *RUNNING, *PLACED, *RESAMPLED, *NEIGHBOURS]


@pytest.mark.parametrize(("mode", "machine"), [(mode, machine) for mode in WHERE for machine in WHERE[mode]])
def test_ops_are_as_the_reference(mode: str, machine: str, tmp_path: Path) -> None:
    check_cases(CASES, mode, MACHINES[machine], tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("machine", MACHINES)
def test_integers(machine: str, dtype: str, tmp_path: Path) -> None:
    x = np.random.default_rng(3).integers(-5, 6, (2, 5, 3)).astype(dtype)
    names = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")
    cases = [Case(name, (x,), {"axes": (1,)}) for name in names]
    cases += [Case(name, (x,), {"axis": -1}) for name in ("ArgMax", "ArgMin")]
    check_cases(cases, "F32", MACHINES[machine], tmp_path)
