"""Ops along dimensions: compiled code beside the reference."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines
from native.op_cases import Case, check_cases

MACHINES = machines()
MODES = ("F32", "F16", "BF16")
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


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", MODES)
def test_norms(mode: str, machine: str, tmp_path: Path) -> None:
    check_cases(NORMS, mode, MACHINES[machine], tmp_path)


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


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", MODES)
def test_reductions(mode: str, machine: str, tmp_path: Path) -> None:
    check_cases(REDUCTIONS, mode, MACHINES[machine], tmp_path)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mode", MODES)
def test_distributions(mode: str, machine: str, tmp_path: Path) -> None:
    check_cases(DISTRIBUTIONS, mode, MACHINES[machine], tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("machine", MACHINES)
def test_integers(machine: str, dtype: str, tmp_path: Path) -> None:
    x = np.random.default_rng(3).integers(-5, 6, (2, 5, 3)).astype(dtype)
    names = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")
    cases = [Case(name, (x,), {"axes": (1,)}) for name in names]
    cases += [Case(name, (x,), {"axis": -1}) for name in ("ArgMax", "ArgMin")]
    check_cases(cases, "F32", MACHINES[machine], tmp_path)
