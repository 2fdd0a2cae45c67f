"""Random networks: every byte of integers is that of the reference, in code for a processor and in C."""

import random
from pathlib import Path

import pytest
from native.compiled import differing, machines, small
from npu.random_networks import Builder
from npu.test_networks import calibrate, inputs
from targets import lowering

from stepdown.errors import UnsupportedModel

MACHINES = machines()
pytestmark = pytest.mark.apart
SEEDS = range(6)


def without_code(seed: int, folder: Path) -> str:
    """Check one random network; return why it has no code, '' where it has."""
    rng = random.Random(seed)
    program = Builder(rng).grow(rng.randint(2, 8))
    calibrate(program, inputs(program))
    lowering(rng.choice(["INT8", "INT8 asymmetric"]), "x86_64").run(program)
    name = rng.choice(list(MACHINES))
    machine = small(MACHINES[name]) if rng.random() < 0.5 else MACHINES[name]
    try:
        assert differing(program, inputs(program), machine, folder) == {}, f"seed {seed}, {name}"
    except UnsupportedModel as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed: int, tmp_path: Path) -> None:
    if why := without_code(seed, tmp_path):
        pytest.skip(why[:200])
