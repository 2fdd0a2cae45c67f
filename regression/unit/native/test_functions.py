"""Functions of a real number, in code: how far they are from the correctly rounded ones, over all sizes of numbers."""

from pathlib import Path

import numpy as np
import pytest
from native.compiled import machines
from native.test_halves import run

from stepdown.native.kernels.floating import square_root

MACHINES = machines()
SPECIAL = np.array([0.0, -0.0, 1e-45, 1e-40, 2.0**-126, 3e38, np.inf, np.nan, -1.0, -1e-40, -np.inf], np.float32)
FUNCTIONS = {"Sqrt": (square_root, np.sqrt, 1)}
"""By op: its code, the function of numpy in float64, and by how many units in the last place it may be off."""


def numbers() -> np.ndarray:
    """Return numbers of all exponents, special ones, and as many more as make whole vectors."""
    patterns = np.arange(0, 0x7F800000, 65_521, dtype=np.uint32)
    found = np.concatenate([patterns.view(np.float32), SPECIAL])
    return np.concatenate([found, np.ones(-found.size % 16, np.float32)])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_near_the_rounded_ones(name: str, machine: str, tmp_path: Path) -> None:
    code, wanted, bound = FUNCTIONS[name]
    x = numbers()
    with np.errstate(all="ignore"):
        right = wanted(x.astype(np.float64)).astype(np.float32)
    got = run(MACHINES[machine], tmp_path, x, np.float32, code)
    known = ~np.isnan(right)
    assert (np.isnan(got) == ~known).all()
    apart = np.abs(got[known].view(np.int32).astype(np.int64) - right[known].view(np.int32))
    assert apart.max() <= bound, x[known][apart.argmax()]
