"""Waits found from addresses: what must end before, nothing that is known to have ended, on every engine."""

import numpy as np

from stepdown.npu.isa import COMPUTE, DMA, DMA2, ENGINES, Command, Convert, Fill, Move, encode, packed
from stepdown.npu.synchronize import Synchronizer
from stepdown.sim.hazards import check_hazards
from stepdown.sim.order import order

LANES = 4


def local(address: int, size: int = 16):
    return packed("i8", (1, LANES, 1, size), address, space="local", lanes=LANES)


def outside(address: int, size: int = 16):
    return packed("i8", (1, LANES, 1, size), address)


def work(source: int, target: int) -> Command:
    return Convert(input=local(source), output=local(target))


def waits(synchronizer: Synchronizer, engine: str) -> list[tuple[int, ...]]:
    return [command.wait for command in synchronizer.streams[engine]]


def test_work_waits_for_its_load_and_a_store_for_the_work() -> None:
    made = Synchronizer(LANES)
    made.append(Move(source=outside(0), target=local(0)))
    made.append(work(0, 16))
    made.append(Move(source=local(16), target=outside(64)))
    made.append(Move(source=outside(128), target=local(32)))
    assert waits(made, COMPUTE) == [(0, 1, 0)]
    assert waits(made, DMA) == [(0, 0, 0), (1, 0, 0), (0, 0, 0)]


def test_a_buffer_is_written_again_when_its_readers_have_ended() -> None:
    made = Synchronizer(LANES)
    made.append(Move(source=outside(0), target=local(0)))
    made.append(work(0, 16))
    made.append(work(0, 32))
    made.append(Move(source=outside(64), target=local(8, 4)))
    made.append(Move(source=outside(64), target=local(0)))
    assert waits(made, DMA) == [(0, 0, 0), (2, 0, 0), (0, 0, 0)]


def test_two_dma_engines_wait_for_each_other_where_global_memory_meets() -> None:
    made = Synchronizer(LANES, ENGINES)
    made.append(Move(source=outside(0), target=local(0)))
    made.append(work(0, 16))
    made.append(Move(source=local(16), target=outside(256)), DMA2)
    made.append(Move(source=outside(512), target=local(32)))
    made.append(Move(source=outside(256 + 32), target=local(48)))
    made.append(work(48, 64))
    made.append(Move(source=local(64), target=outside(512)), DMA2)
    assert waits(made, DMA) == [(0, 0, 0), (0, 0, 0), (0, 0, 1)]
    assert waits(made, DMA2) == [(1, 0, 0), (2, 0, 0)]  # that the read of 512 … has ended is known from the work


def test_one_dma_engine_needs_no_waits_for_global_memory() -> None:
    made = Synchronizer(LANES)
    made.append(Fill(target=outside(0)))
    made.append(Move(source=outside(0), target=local(0)))
    assert waits(made, DMA) == [(0, 0, 0), (0, 0, 0)]


def test_whatever_is_appended_has_no_hazards() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        made = Synchronizer(LANES, ENGINES)
        for _ in range(60):
            here, there = int(rng.integers(0, 8)) * 8, 64 + int(rng.integers(0, 8)) * 8
            away = int(rng.integers(0, 8)) * 24
            command = [
                work(here, there),
                Move(source=outside(away), target=local(here)),
                Move(source=local(there), target=outside(away)),
                Fill(target=outside(away, 8)),
            ][rng.integers(4)]
            made.append(command, "" if command.engine == COMPUTE else str(rng.choice([DMA, DMA2])))
        for commands in made.streams.values():
            encode(commands)
        check_hazards(made.streams, [], list(order(made.streams)), LANES)
