"""On the time line engines overlap as far as their waits allow, and not further."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from sim.programs import GLOBAL_BYTES, Assembler, chip, integer_convolution, tiled

from stepdown.npu.isa import Fill, Move, Pool, encode, packed
from stepdown.sim import Event, load, timeline
from stepdown.sim.timeline import part_starts

WINDOW = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}


def events(tiles: int) -> list:
    given = integer_convolution(np.random.default_rng(5), (1, 16, 32, 24), (24, 16, 3, 3), **WINDOW)
    machine = chip(local_bytes=1 << 16)
    asm = Assembler(machine)
    tiled(asm, given, tiles)
    return timeline(asm.program(), machine)


def test_every_command_runs_once_in_the_order_of_its_engine() -> None:
    ran = events(4)
    for engine in ("compute", "dma"):
        mine = [event for event in ran if event.engine == engine]
        assert [event.index for event in mine] == list(range(len(mine)))
        assert all(a.end <= b.start for a, b in pairwise(mine))


def test_waits_are_kept() -> None:
    ran = events(4)
    ends = {(event.engine, event.index): event.end for event in ran}
    for event in ran:
        for engine, count in zip(("compute", "dma"), event.command.wait, strict=False):
            assert not count or event.start >= ends[engine, count - 1]


def test_double_buffering_overlaps_transfers_with_work() -> None:
    ran = events(4)
    compute = [event for event in ran if event.engine == "compute"]
    busy = sum(event.cost.cycles for event in ran)
    assert max(event.end for event in ran) < busy
    loads = [event for event in ran if event.engine == "dma" and event.start < compute[0].end <= event.end]
    assert loads, "no transfer runs beside the first convolution"


def test_a_transfer_into_the_bank_that_works_is_delayed() -> None:
    machine = chip(local_bytes=1 << 16)
    ran = events(4)
    assert any(event.cost.parts.get("bank_conflict", 0) for event in ran if event.engine == "dma")
    fill = Fill(target=packed("i8", (1, 8, 4, 4), 0, space="local", lanes=8))
    alone = timeline(load({"dma": encode([fill])}, machine, GLOBAL_BYTES), machine)
    assert "bank_conflict" not in alone[0].cost.parts


def test_parts_meet() -> None:
    machine = chip()
    fill = Fill(target=packed("i8", (1, 8, 4, 4), 0, space="local", lanes=8))
    same_place = {"dma": encode([fill, fill]), "dma2": encode([fill])}
    both = replace(machine, dma_engines=2)
    parts = [{"compute": 0, "dma": 2, "dma2": 0}]
    program = load(same_place, both, GLOBAL_BYTES, parts=parts)
    ran = timeline(program, both)
    assert [event.engine for event in ran] == ["dma", "dma", "dma2"]
    assert ran[2].start == ran[1].end


def test_the_host_works_between_parts() -> None:
    machine = chip()
    fill = Fill(target=packed("i8", (1, 8, 4, 4), 0, space="local", lanes=8))
    parts = [{"dma": 0}, {"dma": 1}, {"dma": 1}, {"dma": 1}, {"dma": 2}]
    program = load({"dma": encode([fill, fill])}, machine, GLOBAL_BYTES, parts=parts)
    host = [100, 0, 30, 7, 0, 50]  # before all, not beside commands, twice in between, and after all
    ran = timeline(program, machine, host)
    cycles = ran[0].cost.cycles
    assert [event.start for event in ran] == [100, 100 + cycles + 37]
    end = ran[1].end
    assert part_starts(program, ran, host) == [0, 100, 100 + cycles, 130 + cycles, 137 + cycles, end]


def transfers(second_space: str = "global") -> list:
    """Return the events of two transfers that start together on two engines."""
    machine = replace(chip(), dma_engines=2)
    moves = [
        Move(source=packed("i8", (1, 8, 64, 64), 1 << 16, space="global"),
             target=packed("i8", (1, 8, 64, 64), 0, space="local", lanes=8)),
        Move(source=packed("i8", (1, 8, 16, 16), 8192, space="local", lanes=8),
             target=packed("i8", (1, 8, 16, 16), 12288, space=second_space, lanes=8)),
    ]  # fmt: skip
    program = load({"dma": encode(moves[:1]), "dma2": encode(moves[1:])}, machine, GLOBAL_BYTES)
    return timeline(program, machine)


def test_dma_engines_share_the_bytes_of_a_cycle() -> None:
    first, second = transfers()
    assert first.start == second.start == 0
    assert "bus" not in first.cost.parts
    assert second.end == first.end + second.cost.parts["transfer"]


def test_a_transfer_within_local_memory_needs_no_bus() -> None:
    assert not any("bus" in event.cost.parts for event in transfers("local"))


BANK = 4096
PLANES = packed("i8", (1, 8, 32, 32), 0, space="local", lanes=8)  # 1024 bytes of each lane


def pool(address: int) -> Pool:
    """Return a 3 × 3 maximum whose input and output lie behind each other."""
    there = replace(PLANES, address=address), replace(PLANES, address=address + 1024)
    return Pool(input=there[0], output=there[1], kernel=(3, 3), pads=(1, 1, 1, 1), kind="max")


def beside(compute: list[Pool], target: int) -> dict[tuple[str, int], Event]:
    """Return what runs when of pools and a transfer of 8192 bytes that starts with the first."""
    machine = chip(local_bytes=16 * BANK)
    moved = Move(source=packed("i8", (1, 8, 32, 32), 0), target=replace(PLANES, address=target))
    program = load({"compute": encode(compute), "dma": encode([moved])}, machine, GLOBAL_BYTES)
    return {(event.engine, event.index): event for event in timeline(program, machine)}


def test_of_two_that_share_a_bank_the_later_one_waits_while_the_transfer_writes() -> None:
    held = 8192 // (8 * 64)  # a vector of 64 bytes of each of 8 lanes a cycle
    together = beside([pool(0)], target=3072)
    assert together["dma", 0].cost.parts["bank_conflict"] == held
    assert together["compute", 0].cost == beside([pool(0)], target=BANK)["compute", 0].cost
    later = beside([pool(5 * BANK), pool(0)], target=3072)
    assert 0 < later["compute", 1].start < later["dma", 0].end
    assert later["compute", 1].cost.cycles == together["compute", 0].cost.cycles + held
    assert "bank_conflict" not in later["dma", 0].cost.parts


def test_other_banks_and_other_times_delay_nothing() -> None:
    apart = beside([pool(0)], target=BANK)
    assert not any("bank_conflict" in event.cost.parts for event in apart.values())
    after = beside([pool(5 * BANK), pool(6 * BANK), pool(0)], target=3072)
    assert after["compute", 2].start >= after["dma", 0].end
    assert after["compute", 2].cost == apart["compute", 0].cost
