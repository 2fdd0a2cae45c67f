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
