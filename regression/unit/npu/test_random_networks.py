"""Random networks, cut into random groups and tiles, on random memories: every byte is that of the reference."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from npu.machines import run_code
from npu.random_networks import Builder, note_random_groups, random_chip
from npu.test_networks import calibrate, inputs
from targets import lowering

from stepdown.chips import Chip
from stepdown.dialects.program import Program
from stepdown.errors import ResourceError
from stepdown.npu.division import divide
from stepdown.npu.kernels.multiply import MultiplyKernel

MODES = {"bm1684x": ("F16", "BF16", "INT8", "INT8 asymmetric"), "gemmini": ("INT8",)}


def lowered(seed: int) -> tuple[Program, Chip, random.Random]:
    """Return a random network, lowered in a random mode for a random chip, with random groups and tiles."""
    rng = random.Random(seed)
    chip, program = random_chip(rng), Builder(rng).grow(rng.randint(2, 8))
    mode = rng.choice(MODES[chip.name])
    if "INT8" in mode:
        calibrate(program, inputs(program))
    lowering(mode, chip.name).run(program)
    divide(program, chip)
    return program, chip, rng


def special(rng: random.Random, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return inputs with some zeros of either sign, and values at the edges of the 16-bit formats."""
    for array in arrays.values():
        flat = array.reshape(-1)
        for value in (0.0, -0.0, -0.0, 1e-7, -1e-40, 6.6e4, -3e4):
            flat[rng.randrange(flat.size)] = value
    return arrays


def differing(seed: int) -> dict[str, int]:
    """Return by tensor how many bytes differ from the reference's, in one random case."""
    program, chip, rng = lowered(seed)
    note_random_groups(rng, program, chip)
    try:
        wanted, got = run_code(program, special(rng, inputs(program)), chip, poison=seed, shuffle=seed)
    except ResourceError:
        return {}
    assert got.keys() == wanted.keys()
    pairs = {name: (np.ascontiguousarray(got[name]), np.ascontiguousarray(wanted[name])) for name in wanted}
    assert all(mine.dtype == other.dtype and mine.shape == other.shape for mine, other in pairs.values())
    counts = {name: int((mine.view(np.uint8) != other.view(np.uint8)).sum()) for name, (mine, other) in pairs.items()}
    return {name: count for name, count in counts.items() if count}


@settings(max_examples=60)
@given(st.integers(0, (1 << 32) - 1))
def test_random_networks_in_random_tiles_have_the_bytes_of_the_reference(seed: int) -> None:
    assert not differing(seed)


def test_most_random_cases_are_cut_into_tiles_and_groups() -> None:
    grouped = cut = 0
    for seed in range(40):
        program, chip, rng = lowered(seed)
        cut += note_random_groups(rng, program, chip) > 0
        numbers = [op.note("layer_group") for op in program.ops if op.note("layer_group") is not None]
        grouped += len(set(numbers)) < len(numbers)
    assert cut > 20
    assert grouped > 10


def test_a_halo_that_lacks_a_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = MultiplyKernel._rows

    def short(self: MultiplyKernel, region) -> tuple[int, int, int, int]:
        first, last, top, bottom = rows(self, region)
        lost = int(last - first > 1 and last < self.input_shapes[0][2])
        return first, last - lost, top, bottom + lost

    monkeypatch.setattr(MultiplyKernel, "_rows", short)
    assert any(differing(seed) for seed in range(40))
