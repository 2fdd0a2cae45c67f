"""What must not run is found before it runs, and named."""

from dataclasses import replace

import numpy as np
import pytest
from sim.programs import GLOBAL_BYTES, Assembler, chip, cut, integer_convolution, tiled

from stepdown.errors import InputError
from stepdown.npu.isa import Conv, Fill, Gather, Move, Rescale, encode, packed
from stepdown.sim import Machine, load
from stepdown.sim.overlap import overlap

WINDOW = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}


def convolution(tiles: int = 4, dropped: int | None = None) -> tuple[Assembler, np.ndarray]:
    given = integer_convolution(np.random.default_rng(5), (1, 8, 16, 9), (12, 8, 3, 3), **WINDOW)
    asm = Assembler(chip())
    target = tiled(asm, given, tiles, dropped)
    return asm, asm.run(target) if dropped is None else given.wanted


def refused(asm: Assembler) -> str:
    with pytest.raises(InputError) as caught:
        asm.program()
    return str(caught.value)


def test_every_wait_of_the_double_buffer_that_says_more_than_those_before_is_needed() -> None:
    asm, _ = convolution()
    waits = [command.wait[0] for command in asm.streams["dma"]]
    needed = [i for i, count in enumerate(waits) if count > max(waits[:i], default=0)]
    assert len(needed) == 4
    for index in needed:
        message = refused(convolution(dropped=index)[0])
        assert f"command {index} of dma" in message
        assert "nothing puts the two in order" in message


def test_a_load_into_a_buffer_in_use_is_named() -> None:
    asm, _ = convolution()
    third_load = [i for i, c in enumerate(asm.streams["dma"]) if c.target.space == "local"][4]
    message = refused(convolution(dropped=third_load)[0])
    assert message.startswith("command 0 of compute (conv, layer 0): reads its input at 0x")
    assert f"while command {third_load} of dma (move, layer 0) writes its target there" in message
    assert message.endswith("nothing puts the two in order; one must wait for the other")


def test_a_compute_command_before_its_data_is_named() -> None:
    asm, _ = convolution(tiles=1)
    asm.streams["compute"][0] = replace(asm.streams["compute"][0], wait=(0, 2, 0))
    message = refused(asm)
    assert "reads its input" in message
    assert "while command 2 of dma (move, layer 0) writes its target there" in message


def test_poison_and_another_order_expose_the_hazard() -> None:
    asm, wanted = convolution(tiles=1, dropped=3)
    program = asm.program(hazards=False)
    results = []
    for seed in range(8):
        machine = Machine(asm.chip, GLOBAL_BYTES, poison=seed)
        for address, array in asm.image.items():
            raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            machine.memory.global_memory[address : address + raw.size] = raw
        machine.run(program, shuffle=seed)
        results.append(np.array_equal(machine.memory.read(asm.streams["dma"][3].target), wanted))
    assert not all(results)


def test_a_chain_of_waits_puts_commands_in_order() -> None:
    buffer = packed("i8", (1, 8, 4, 4), 0, space="local", lanes=8)
    other = replace(buffer, address=64)
    touch = Rescale(input=other, output=other)
    streams = {
        "dma": [Fill(target=buffer)],
        "compute": [replace(touch, wait=(0, 1, 0))],
        "dma2": [Fill(target=buffer, wait=(1, 0, 0))],
    }
    both = replace(chip(), dma_engines=2)
    load({engine: encode(commands) for engine, commands in streams.items()}, both, GLOBAL_BYTES)
    streams["dma2"] = [Fill(target=buffer)]
    with pytest.raises(InputError, match=r"writes its target .* while command 0 of dma2 .* writes its target there"):
        load({engine: encode(commands) for engine, commands in streams.items()}, both, GLOBAL_BYTES)
    with pytest.raises(InputError, match="a stream for the engine 'dma2'; this machine has compute, dma"):
        load({"dma2": b""}, chip(), GLOBAL_BYTES)


def test_interleaved_tensors_share_no_byte() -> None:
    whole = packed("i8", (1, 8, 4, 6), 0, space="local", lanes=8)
    even = replace(whole, shape=(1, 8, 4, 3), strides=(*whole.strides[:3], 2))
    assert not overlap(even, replace(even, address=1), 8)
    assert overlap(even, replace(even, address=2), 8)
    assert not overlap(cut(whole, 3, 0, 3), cut(whole, 3, 3, 6), 8)
    narrow = replace(whole, shape=(1, 3, 4, 6))
    assert not overlap(narrow, replace(narrow, lane=3), 8)
    assert overlap(narrow, replace(narrow, lane=2), 8)
    assert not overlap(whole, replace(whole, space="global"), 8)


@pytest.mark.parametrize(
    ("space", "address", "shape", "message"),
    [
        ("local", 16384 - 16, (1, 8, 4, 5), "target reaches from byte 16368 to 16388; local memory has 16384"),
        ("local", 16384 - 16, (1, 9, 4, 4), "target reaches"),
        ("global", GLOBAL_BYTES - 63, (1, 8, 4, 2), "target reaches from byte 1048513 to 1048577"),
        ("global", 1 << 63, (1, 8, 4, 2), "target reaches"),
    ],
)
def test_out_of_range_is_named(space: str, address: int, shape: tuple[int, ...], message: str) -> None:
    asm = Assembler(chip())
    asm.dma(Fill(target=packed("i8", (1, 1, 1, 1), 0)))
    asm.dma(Fill(layer=6, target=packed("i8", shape, address, space=space, lanes=8)))
    assert refused(asm).startswith(f"command 1 of dma (fill, layer 6): {message}")


def test_a_lane_that_is_not_there_and_repeats_beyond_memory_are_named() -> None:
    asm = Assembler(chip())
    tensor = packed("i8", (1, 2, 1, 1), 0, space="local", lanes=8, lane=8)
    asm.dma(Fill(target=tensor))
    assert "target starts in lane 8; there are 8" in refused(asm)
    repeated = replace(tensor, lane=0, shape=(1 << 27, 1, 1, 1), strides=(0, 0, 0, 0))
    asm.streams["dma"] = [Move(source=repeated, target=replace(repeated, strides=(1, 0, 0, 0)))]
    assert "source has 134217728 elements, more than any memory holds" in refused(asm)


def test_waits_that_never_end_are_named() -> None:
    asm = Assembler(chip())
    tensor = packed("i8", (1, 2, 1, 1), 0, space="local", lanes=8)
    asm.dma(Fill(target=tensor, wait=(1, 0, 0)))
    asm.compute(Rescale(input=tensor, output=tensor, wait=(0, 1, 0)))
    assert refused(asm) == (
        "command 0 of compute (rescale, layer 0): waits for 1 commands of dma and never starts: "
        "ended are 0 of compute, 0 of dma"
    )
    asm.streams["compute"] = []
    assert "waits for 1 commands of compute and never starts" in refused(asm)


def test_a_copy_onto_itself_is_refused() -> None:
    asm = Assembler(chip())
    tensor = packed("i8", (1, 1, 4, 4), 0)
    asm.dma(Move(source=tensor, target=replace(tensor, address=8)))
    assert "source and target overlap" in refused(asm)


def test_values_that_cannot_be_are_named_when_it_runs() -> None:
    asm = Assembler(chip())
    rows = asm.place("i8", (1, 1, 5, 2), np.zeros((1, 1, 5, 2)))
    index = asm.place("i32", (1, 1, 2, 1), np.array([4, 5]))
    target = asm.place("i8", (1, 1, 2, 2))
    asm.dma(Gather(source=rows, index=index, target=target))
    with pytest.raises(InputError, match=r"command 0 of dma \(gather, layer 0\): row 5 is asked for; the source has 5"):
        asm.run(target)
    given = integer_convolution(np.random.default_rng(5), (1, 8, 4, 4), (12, 8, 3, 3), **WINDOW)
    asm = Assembler(chip())
    target = tiled(asm, replace(given, records=given.records[:, ::-1].copy()), 1)
    with pytest.raises(InputError, match=r"reads shifts from .* are its parameters in place"):
        asm.run(target)
    assert isinstance(asm.streams["compute"][0], Conv)


@pytest.mark.parametrize("parts", [[{"dma": 3}], [{"dma": 2}, {"dma": 1}], [{"dma": -1}]])
def test_parts_that_the_streams_do_not_have_are_named(parts: list[dict[str, int]]) -> None:
    fill = Fill(target=packed("i8", (1, 1, 1, 1), 0))
    with pytest.raises(InputError, match=r"parts end after \[.*\] of the 2 commands of dma"):
        load({"dma": encode([fill, fill])}, chip(), GLOBAL_BYTES, parts=parts)


def test_after_a_part_all_that_ran_before_is_over() -> None:
    buffer = packed("i8", (1, 8, 4, 4), 0, space="local", lanes=8)
    streams = {"dma": encode([Fill(target=buffer)]), "compute": encode([Rescale(input=buffer, output=buffer)])}
    load(streams, chip(), GLOBAL_BYTES, parts=[{"dma": 1}])
    with pytest.raises(InputError, match="nothing puts the two in order"):
        load(streams, chip(), GLOBAL_BYTES)
