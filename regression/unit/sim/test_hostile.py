"""Whatever a stream holds: it is refused in one line, or it runs; nothing else happens."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from npu.commands import COMMANDS, random_command
from sim.programs import GLOBAL_BYTES, chip

from stepdown.errors import InputError
from stepdown.npu.isa import encode
from stepdown.sim import Machine, load, timeline

CHIP = chip(lanes=16, local_bytes=1 << 18)


def refused_or_runs(streams: dict[str, bytes]) -> bool:
    try:
        program = load(streams, CHIP, GLOBAL_BYTES)
        Machine(CHIP, GLOBAL_BYTES, poison=1).run(program)
        timeline(program, CHIP)
    except InputError as error:
        assert "\n" not in str(error)
        return False
    return True


@pytest.mark.parametrize("mnemonic", sorted(COMMANDS))
def test_some_commands_run_on_noise(mnemonic: str) -> None:
    rng = random.Random(1)
    ran = 0
    for _ in range(40):
        command = replace(random_command(mnemonic, rng), wait=(0, 0, 0))
        ran += refused_or_runs({command.engine: encode([command])})
    assert ran or mnemonic in ("conv", "depthwise", "rescale", "gather")


@given(seed=st.integers(0, 2**32), places=st.lists(st.integers(0, 10**6), max_size=3))
@settings(max_examples=100, deadline=None)
def test_damaged_streams(seed: int, places: list[int]) -> None:
    rng = random.Random(seed)
    streams = {"compute": bytearray(), "dma": bytearray()}
    for _ in range(3):
        command = replace(
            random_command(rng.choice(sorted(COMMANDS)), rng), wait=(rng.randrange(2), rng.randrange(2), 0)
        )
        streams[command.engine] += encode([command])
    for at in places:
        stream = streams[rng.choice(("compute", "dma"))]
        if stream:
            stream[at % len(stream)] ^= 1 << rng.randrange(8)
    refused_or_runs({engine: bytes(stream) for engine, stream in streams.items()})
